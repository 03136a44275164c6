"""The schema: migrations build what tables.py says, at every start and only once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import sbc.store
from sbc.sip.errors import LocalError
from sbc.store.engine import open_engine
from sbc.store.migrate import HEAD, upgrade
from sbc.store.tables import metadata

from .conftest import Database

SCRIPTS = Path(sbc.store.__file__).parent / "migrations"


def test_the_newest_migration_is_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_migrations_build_the_tables_that_are_declared(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_an_up_to_date_schema_costs_one_look(sqlite_template: Path) -> None:
    code = f"""
import sys
from sbc.store.engine import open_engine
from sbc.store.migrate import upgrade
upgrade(open_engine("sqlite:///{sqlite_template}"))
assert "alembic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/sbc.db")
    upgrade(engine)
    with engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LocalError, match="9999"):
        upgrade(engine)


def test_processes_that_start_at_once_build_one_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sbc.db"
    code = f"import sbc.store.engine as e, sbc.store.migrate as m; m.upgrade(e.open_engine({url!r}))"
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [child.wait(120) for child in children] == [0, 0]


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/x", "sqlite://", "sqlite:///:memory:"])
def test_urls_nobody_can_use(url: str) -> None:
    with pytest.raises(LocalError, match=r"^database\.url"):
        open_engine(url)


def test_commits_are_durable_on_sqlite(tmp_path: Path) -> None:
    with open_engine(f"sqlite:///{tmp_path}/sbc.db").connect() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
