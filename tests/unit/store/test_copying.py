"""The measurements fill a server by COPY: with the very rows that REGISTERs leave."""

from __future__ import annotations

from dataclasses import replace

from bench import copying
from bench.store import registration
from tests.unit.store.conftest import empty

AT = 1_800_000_000.0


def test_copied_users_are_as_those_that_registered(server_database, monkeypatch):
    database = server_database
    empty(database)
    given = [
        replace(registration(number, AT + number), auth_username=f"auth{number}", purr="p" * 32, gruus=";gr")
        for number in range(5)
    ]
    for each in given:
        database.write(each)
    registered = everything(database)
    monkeypatch.setattr(copying, "CHUNK", 2)
    copying.copy(database.engine, database.secret, given)
    assert everything(database) == registered
    database.write(registration(7, AT))
    assert database.rows("SELECT max(id) FROM users") == [(6,)], "the next one that registers gets the next id"


def everything(database):
    return {table: database.rows(f"SELECT * FROM {table} ORDER BY id") for table in copying.COLUMNS}
