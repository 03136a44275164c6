"""Settings of the log and the SIP trace: section ``[log]``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sbc.settings import FilePath, Flag, Integer, List, Text, Words, section, setting

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
"""From talkative to silent; the words of twisted.logger."""


@section("log", doc="The log and the SIP trace")
@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The `[log]` section."""

    format: str = setting("text", Words({"text": None, "json": None}), doc="text for eyes, json for machines")
    level: str = setting("info", Words(dict.fromkeys(LEVELS)), doc="the least important level that is written")
    levels: tuple[str, ...] = setting(
        (), List(Text(required=True)), doc='levels of single parts, such as "sbc.push=debug" or "twisted.names=error"'
    )
    file: str = setting("", FilePath(), doc="write there instead of standard output; rotated", restart=True)
    file_bytes: int = setting(
        50_000_000, Integer(100_000), doc="size in bytes at which the log file is rotated", restart=True
    )
    file_count: int = setting(10, Integer(1, 1000), doc="rotated log files kept", restart=True)
    trace: bool = setting(
        False, Flag(), doc="keep the last SIP messages in memory from the start, for the web page and the API"
    )
    trace_bytes: int = setting(
        16 * 1024 * 1024, Integer(65_536, 1 << 30), doc="memory for the SIP trace, in bytes", restart=True
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        """Entries of `levels` that are not ``namespace=level``."""
        for entry in self.levels:
            namespace, _, level = entry.partition("=")
            if not namespace.strip() or level.strip() not in LEVELS:
                yield "levels", f'"{entry}" must be like "sbc.push=debug", the level one of {", ".join(LEVELS)}'
