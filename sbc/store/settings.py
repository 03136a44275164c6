"""The settings of the database."""

from dataclasses import dataclass
from typing import Any

from sbc.settings import Duration, Text, section, setting

ENGINES = ("sqlite:///", "postgresql+psycopg://", "postgresql://")


class DatabaseUrl(Text):
    """A database URL, to be hidden when there is a password in it."""

    def __init__(self) -> None:
        super().__init__(required=True)

    @property
    def words(self) -> str:
        return '"sqlite:///" and the path of a file, or "postgresql+psycopg://user:password@host/database"'

    def read(self, raw: object) -> str:
        url = super().read(raw)
        if not url.startswith(ENGINES):
            raise ValueError(f"must be {self.words}")
        return url

    def hides(self, value: Any) -> bool:
        login, at, _ = (value or "").partition("://")[2].rpartition("@")
        return bool(at) and ":" in login


@section("database", doc="Where users, bindings, tokens, calls and settings are kept")
@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    url: str = setting(
        "sqlite:///var/sbc.db",
        DatabaseUrl(),
        doc="the database; several nodes need PostgreSQL",
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
