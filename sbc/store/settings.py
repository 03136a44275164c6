"""The settings of the database."""

from collections.abc import Iterator
from dataclasses import dataclass

from sbc.settings import Duration, Text, section, setting

ENGINES = ("sqlite:///", "postgresql+psycopg://", "postgresql://")


@section("database", doc="Where users, bindings, tokens, calls and settings are kept")
@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    url: str = setting(
        "sqlite:///var/sbc.db",
        Text(required=True),
        doc='"sqlite:///" and the path of a file, or "postgresql+psycopg://user:password@host/database"',
        secret=True,
        restart=True,
    )
    keep_calls: float = setting(90 * 86400.0, Duration(default_unit="d"), doc="how long CDRs stay; 0: for ever")
    keep_events: float = setting(
        14 * 86400.0, Duration(default_unit="d"), doc="how long the timelines of calls stay; 0: for ever"
    )
    keep_pushes: float = setting(
        30 * 86400.0, Duration(default_unit="d"), doc="how long the record of each push stays; 0: for ever"
    )
    keep_messages: float = setting(
        7 * 86400.0, Duration(default_unit="d"), doc="how long messages for sleeping users stay; 0: for ever"
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.url.startswith(ENGINES):
            yield "url", 'must begin with "sqlite:///" or "postgresql+psycopg://"'
