"""What the commands of `sbcctl` share: the connection to the node, the form of the output, options of lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from sbc.admin.client import Client
from sbc.admin.printing import fields, table

ROWS: Final = 50
"""Rows a list shows unless asked otherwise."""


@dataclass
class Session:
    """What the options said: the node and the form of the output."""

    client: Client
    as_json: bool

    def rows(self, path: str, columns: str, query: Mapping[str, Any], limit: int = ROWS) -> None:
        """Print a list; query parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        self.show(list(self.client.rows(path, given, limit)), columns)

    def plain(self, path: str, columns: str) -> None:
        """Print a list that has no pages."""
        self.show(self.client.ask("GET", path)["items"], columns)

    def show(self, rows: Sequence[Mapping[str, Any]], columns: str) -> None:
        """Print these rows."""
        if self.as_json:
            self.value(rows)
        else:
            self.lines(table(rows, columns.split()))

    def record(self, record: Mapping[str, Any]) -> None:
        """Print one record."""
        if self.as_json:
            self.value(record)
        else:
            self.lines(fields(record))

    def value(self, value: object) -> None:
        """Print JSON; all but ASCII is escaped, control characters with it."""
        click.echo(json.dumps(value, indent=2))

    def lines(self, lines: Iterable[str]) -> None:
        """Print text."""
        for line in lines:
            click.echo(line)


def limited(command: Callable[..., None]) -> Callable[..., None]:
    """The option ``--limit`` of a list."""
    option = click.option("--limit", default=ROWS, show_default=True, type=click.IntRange(1), help="Rows at most.")
    return option(command)


def options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Options of these names without defaults, for the filters of a list."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = click.option(f"--{name.replace('_', '-')}")(command)
        return command

    return add
