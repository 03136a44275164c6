"""Records as a table on a terminal. Pure.

What phones call themselves ends up on an operator's terminal, so control characters, with which a terminal can be made
to lie, are shown as ``?``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

CELL_LIMIT: Final = 60
"""Characters of one cell; ``--json`` shows all."""


def inert(value: object) -> str:
    """`value` as text that does nothing to a terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(inert(one) for one in value)
    return "".join(character if character.isprintable() else "?" for character in str(value))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Lines: the names of the columns, then a line per row, cells cut to `CELL_LIMIT`."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[_cut(inert(row.get(column))) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def fields(record: Mapping[str, Any]) -> list[str]:
    """Lines: one per member of `record`, names aligned."""
    width = max((len(name) for name in record), default=0)
    return [f"{name.replace('_', ' ').ljust(width)}  {inert(value)}".rstrip() for name, value in record.items()]


def _cut(text: str) -> str:
    return text if len(text) <= CELL_LIMIT else text[: CELL_LIMIT - 1] + "…"
