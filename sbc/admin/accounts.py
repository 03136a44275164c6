"""HA1s of users by hand: a table of them through the API, from a file with `sbcctl`.

In: CSV whose first line names its columns: ``username`` and ``domain``, one or more of ``md5``, ``sha-256`` and
``sha-512-256``, and if wanted ``realm`` (else the domain) and ``auth_username`` (else the user name). `sbcctl` takes
``password`` too, and makes the HA1s of it before anything is sent. Out: `Account`s.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Final

import click
from twisted.internet.defer import Deferred

from sbc.admin.ports import Account, Node
from sbc.admin.routes import Answer, Ask, Field, Refused, Route, as_json, storable
from sbc.admin.session import Session
from sbc.sip.digest import PREFERRED, gathered, ha1

HASHES: Final = ("md5", "sha-256", "sha-512-256")
COLUMNS: Final = ("username", "domain", "realm", "auth_username", *HASHES)
CSV_LIMIT: Final = 200_000
"""Characters of one table; `sbcctl` sends a longer file in pieces."""
ROWS: Final = 500
"""Users in one piece."""
TOLD: Final = 5
"""Mistakes that are told at once."""


def accounts_of(text: str) -> list[Account]:
    """The accounts in a table. Raises `Refused` 400 that names the lines that are wrong; then none of them counts."""
    found, wrong = [], []
    for number, row in _rows(io.StringIO(text), COLUMNS):
        try:
            found.append(_account(row))
        except ValueError as problem:
            wrong.append(f"line {number}: {problem}")
    if wrong:
        raise Refused(400, "; ".join(wrong[:TOLD]) + ("; and more" if len(wrong) > TOLD else ""))
    return found


def _rows(lines: Iterable[str], columns: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        table = csv.DictReader(lines, skipinitialspace=True)
        unknown = set(table.fieldnames or ("nothing",)) - set(columns)
        if unknown:
            raise Refused(400, f"the first line names the columns; {min(unknown)[:40]!r} is none")
        for row in table:
            if None in row or None in row.values():
                raise Refused(400, f"line {table.line_num}: not as many values as columns")
            yield table.line_num, {name: value.strip() for name, value in row.items()}
    except csv.Error as problem:
        raise Refused(400, f"no CSV: {problem}") from None


def _account(row: Mapping[str, str]) -> Account:
    username, domain = storable(row.get("username", "")), storable(row.get("domain", "")).lower()
    if not username or not domain:
        raise ValueError("no user name or no domain")
    told = ",".join(f"{name}:{row[name]}" for name in HASHES if row.get(name))
    realm, auth_username = storable(row.get("realm", "")), storable(row.get("auth_username", ""))
    return Account(username, domain, realm or domain, auth_username or username, gathered(told))


def account_routes(node: Node) -> tuple[Route, ...]:
    """The route that takes a table."""

    def save(ask: Ask) -> Deferred[Answer]:
        accounts = accounts_of(ask.body["csv"])
        return node.actions.save_ha1s(accounts, ask.caller.name).addCallback(lambda count: as_json({"saved": count}))

    return (
        Route(
            "POST",
            "/api/v1/ha1",
            "save_ha1s",
            "Store HA1s of users, in place of those that are stored",
            save,
            need="write",
            tag="users",
            body=(
                Field("csv", "text", f"a table of users; columns: {', '.join(COLUMNS)}", required=True, most=CSV_LIMIT),
            ),
            answer={"type": "object"},
        ),
    )


@click.command("ha1")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.pass_obj
def ha1_command(session: Session, file: IO[str]) -> None:
    """Store HA1s of users from a CSV file. Its first line names the columns: username, domain, and md5, sha-256,
    sha-512-256 or password; also realm, auth_username. Passwords do not leave this program."""
    saved = 0
    try:
        rows = [_hashed(row) for _, row in _rows(file, (*COLUMNS, "password"))]
    except Refused as problem:
        raise click.ClickException(problem.reason) from None
    for first in range(0, len(rows), ROWS):
        piece = io.StringIO()
        table = csv.DictWriter(piece, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows[first : first + ROWS])
        saved += session.client.ask("POST", "/ha1", body={"csv": piece.getvalue()})["saved"]
    session.record({"saved": saved})


def _hashed(row: dict[str, str]) -> dict[str, str]:
    """With the HA1s of the password instead of the password."""
    password = row.pop("password", "")
    if password:
        username = row.get("auth_username") or row.get("username", "")
        realm = row.get("realm") or row.get("domain", "").lower()
        row |= {name.lower(): ha1(username, realm, password, name) for name in PREFERRED}
    return row
