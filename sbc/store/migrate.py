"""Brings the schema up to date when the service starts; costs one look-up when it already is."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from sbc.sip.errors import LocalError
from sbc.store.rows import HA1, PRID
from sbc.store.secret import Secret, SecretError

HEAD = "0009"
"""The newest migration in `migrations/versions` (a test compares)."""

LOCK = 7_265_301
"""PostgreSQL advisory lock: of several nodes that start at once one migrates and the others wait."""


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, all or none. LocalError when the database is newer than this program."""
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.exec_driver_sql("BEGIN" if engine.dialect.name == "postgresql" else "BEGIN EXCLUSIVE")
        try:
            if (version := _version(connection)) != HEAD:
                _migrate(connection, version)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise


def require_key(engine: Engine, secret: Secret) -> None:
    """Raise SecretError when what the database holds was sealed with another key: nothing may be added to that."""
    with engine.connect() as connection:
        for purpose, query in _SEALED:
            for (sealed,) in connection.exec_driver_sql(query):
                try:
                    secret.open(bytes(sealed), purpose)
                except SecretError as error:
                    raise SecretError(f"{error} Restore that file; if it is lost, run sql/forget_secrets.sql") from None


_SEALED = (
    (HA1, "SELECT ha1 FROM (SELECT ha1 FROM users ORDER BY id DESC LIMIT 100) newest WHERE ha1 IS NOT NULL LIMIT 1"),
    (PRID, "SELECT prid FROM push_tokens ORDER BY id DESC LIMIT 1"),
)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _migrate(connection: Connection, version: str | None) -> None:
    # Imported here: it takes 150 ms that a start with nothing to migrate need not spend.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise LocalError(
            f"the database has schema {version}, which this version does not know: it was used by a newer one"
        )
    command.upgrade(config, "head")
