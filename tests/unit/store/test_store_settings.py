"""The settings of the database."""

from __future__ import annotations

import pytest

from sbc.settings import ConfigurationErrors, example, load
from sbc.store import DatabaseSettings

SECTIONS = (DatabaseSettings,)


def shown(url: str) -> tuple[str, list[str]]:
    configuration = load(f'[database]\nurl = "{url}"', SECTIONS, path="sbc.toml")
    assert url not in repr(configuration[DatabaseSettings])
    return configuration.shown()["database.url"], configuration.secrets()


def test_only_a_url_with_a_password_is_a_secret() -> None:
    assert shown("sqlite:////var/lib/sbc.db") == ("sqlite:////var/lib/sbc.db", [])
    assert shown("postgresql+psycopg://sbc@/sbc?host=/run") == ("postgresql+psycopg://sbc@/sbc?host=/run", [])
    assert shown("postgresql+psycopg://sbc:hunter2@db/sbc") == ("***", ["database.url"])


def test_a_wrong_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigurationErrors) as caught:
        load('[database]\nurl = "mysql://sbc:hunter2@db/sbc"', SECTIONS, path="sbc.toml")
    assert str(caught.value).startswith("sbc.toml:2: database.url: must be ")
    assert "hunter2" not in str(caught.value)


def test_the_example_is_the_default() -> None:
    assert load(example(SECTIONS), SECTIONS, path="")[DatabaseSettings] == DatabaseSettings()
