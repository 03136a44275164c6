"""Fills a database with users whose phones sleep, as if they had registered: what a restarted node finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.copying import copy
from bench.store import registration
from sbc.sip.digest import ha1
from sbc.store import Secret
from sbc.store.engine import open_engine
from sbc.store.migrate import upgrade
from sbc.store.operations import SaveRegistration
from sbc.store.writer import Commits

CHUNK = 2_000
"""Registrations of one commit of SQLite."""


def fill(state: Path, url: str, users: int, domain: str, at: float, next_at: Callable[[int], float | None]) -> None:
    """Write ``users`` users with one device, one token and one upper registration each; ``next_at`` says when the
    registration of the n-th is due. In a PostgreSQL database all other users are removed."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = Secret.from_file(state / "secret.key")
    engine = open_engine(url)
    upgrade(engine)
    if engine.dialect.name == "postgresql":
        copy(engine, secret, (_sleeper(number, domain, at, next_at(number)) for number in range(users)))
        engine.dispose()
        return
    commits = Commits(engine, secret)
    for start in range(0, users, CHUNK):
        numbers = range(start, min(users, start + CHUNK))
        commits.work([_sleeper(number, domain, at, next_at(number)) for number in numbers])
    commits.done()
    engine.dispose()


def _sleeper(number: int, domain: str, at: float, next_at: float | None) -> SaveRegistration:
    given = registration(number, at)
    return replace(
        given,
        domain=domain,
        realm=domain,
        auth_username=given.username,
        ha1=ha1(given.username, domain, "secret"),
        upper_expires_at=at + 3600,
        next_at=next_at,
    )
