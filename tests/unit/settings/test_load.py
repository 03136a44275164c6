"""Reading a configuration: what is right, and all that is wrong in one run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from sbc.settings import (
    Configuration,
    ConfigurationErrors,
    Duration,
    Flag,
    Ignored,
    Integer,
    NodeSettings,
    Numbered,
    Text,
    Words,
    changes,
    example,
    load,
    reference,
    section,
    setting,
)


@section("push", doc="Push")
@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    enabled: str = setting(
        "auto",
        Words({"auto": -1, "off": 0, "on": 1, "always": 2}),
        doc="whether to push",
        aliases=("pushnotification",),
    )
    ttl: float = setting(0.0, Duration(), doc="life of a push", aliases=("pushnotification_ttl",))
    port: None = setting(None, Ignored("the binary protocol ended in 2021"), doc="", aliases=("pushkit_port",))


@section("push.remove_on", doc="When bindings go")
@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOnSettings:
    reject: bool = setting(True, Flag(), doc="refused users", aliases=("pushnotification_removeon_reject",))


@section("push.app", doc="An app", array=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    id: str = setting(kind=Text(required=True), doc="bundle id")
    password: str = setting("", Text(maximum=8), doc="of the key", secret=True)


@section("fcm", doc="FCM")
@dataclass(frozen=True, slots=True, kw_only=True)
class FcmSettings:
    protocol: str = setting(
        "v1",
        Words({"v1": 1, "legacy": 0}, refused={"legacy": "Google ended it in 2024"}),
        doc="protocol",
        aliases=("fcm_protocol",),
    )
    key: Mapping[int, str] = setting(
        kind=Numbered(Text(), 1000), factory=dict, doc="service accounts", aliases=("fcm_key",)
    )
    low: int = setting(1, Integer(0, 9), doc="low")
    high: int = setting(5, Integer(0, 9), doc="high", restart=True)

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.low > self.high:
            yield "low", "is above high"


ALL = (NodeSettings, PushSettings, RemoveOnSettings, AppSettings, FcmSettings)


def read(text: str) -> Configuration:
    return load(text, ALL, path="sbc.toml")


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigurationErrors) as caught:
        read(text)
    assert str(caught.value).splitlines() == [str(each) for each in caught.value.mistakes]
    return str(caught.value).splitlines()


def test_an_empty_file_is_all_defaults() -> None:
    configuration = read("")
    assert configuration[PushSettings] == PushSettings()
    assert configuration[NodeSettings].name
    assert configuration.each(AppSettings) == ()
    assert configuration.notices == ()


def test_values_words_numbers_and_units() -> None:
    configuration = read('[push]\nenabled = 2\nttl = "2m"\n[push.remove_on]\nreject = "off"\n[[push.app]]\nid = "x"\n')
    assert configuration[PushSettings].enabled == "always"
    assert configuration[PushSettings].ttl == 120.0
    assert configuration[RemoveOnSettings].reject is False
    assert [app.id for app in configuration.each(AppSettings)] == ["x"]
    with pytest.raises(TypeError):
        configuration[AppSettings]


def test_old_names_stand_in_the_section_around_it_or_on_top() -> None:
    configuration = read("pushnotification = 1\n[push]\npushnotification_removeon_reject = 0\npushkit_port = 2195\n")
    assert configuration[PushSettings].enabled == "on"
    assert configuration[RemoveOnSettings].reject is False
    assert configuration.notices == ("sbc.toml:4: pushkit_port has no effect: the binary protocol ended in 2021",)


def test_numbered_keys_collect() -> None:
    configuration = read('fcm_key2 = "b.json"\n[fcm]\nkey = "a.json"\nkey1000 = "z.json"\n')
    assert configuration[FcmSettings].key == {0: "a.json", 2: "b.json", 1000: "z.json"}
    assert mistakes('[fcm]\nkey1001 = "a"') == ['sbc.toml:2: fcm.key1001: unknown key; did you mean "fcm.key"?']


def test_every_mistake_is_told_in_one_run() -> None:
    assert mistakes(
        """\
[push]
enabeld = "on"
ttl = "soon"
reject = 1
pushnotification = 1
enabled = "on"

[psuh]
x = 1

[[push.app]]
password = "far too long to be one"

[fcm]
protocol = 0
low = 99
"""
    ) == [
        'sbc.toml:2: push.enabeld: unknown key; did you mean "enabled"?',
        'sbc.toml:3: push.ttl: must be a time like "40s" or "30d" (a plain number means seconds), not "soon"',
        "sbc.toml:4: push.reject: unknown key; it belongs to [push.remove_on]",
        "sbc.toml:6: push.enabled: is the same setting as pushnotification in line 5: keep one of them",
        'sbc.toml:8: psuh: unknown section; did you mean "push"?',
        "sbc.toml:11: push.app.id: is missing: bundle id; a text that is not empty",
        "sbc.toml:12: push.app.password: must be a text",
        'sbc.toml:15: fcm.protocol: "legacy" is refused: Google ended it in 2024',
        "sbc.toml:16: fcm.low: must be a whole number from 0 to 9, not 99",
    ]


def test_a_secret_is_never_shown() -> None:
    configuration = read('[[push.app]]\nid = "x"\npassword = "hunter2"\n')
    assert "hunter2" not in repr(configuration.each(AppSettings))
    assert configuration.secrets() == ["push.app.password"]


def test_what_does_not_fit_together_is_told_at_its_line() -> None:
    assert mistakes("[fcm]\nhigh = 2\n\nlow = 3\n") == ["sbc.toml:4: fcm.low: is above high"]


def test_tables_in_the_wrong_shape() -> None:
    assert mistakes("push = 1") == ["sbc.toml:1: push: must be a table: write it as [push]"]
    assert mistakes("[push.app]\nid = 'x'") == [
        "sbc.toml:1: push.app: must be an array of tables: write each as [[push.app]]"
    ]
    assert mistakes("[[node]]") == ["sbc.toml:1: node: must be a table: write it as [node]"]


def test_wrong_syntax_has_a_line_too() -> None:
    assert mistakes("[node]\nname = nobody") == ["sbc.toml:2: Invalid value (column 8)"]
    assert mistakes('[node]\nname = "x')[0].startswith("sbc.toml:2: ")
    assert mistakes("[node]\nname = 'a'\nname = 'b'")[0].startswith("sbc.toml:3: Cannot overwrite a value")


def test_two_declarations_of_one_name_are_our_mistake() -> None:
    @section("other", doc="")
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Other:
        x: bool = setting(True, Flag(), doc="", aliases=("pushnotification",))

    with pytest.raises(TypeError, match=r"other.x and push.enabled are both declared as pushnotification"):
        load("", (*ALL, Other), path="")


def test_the_settings_table_is_laid_over_the_file_and_never_keeps_from_starting() -> None:
    configuration, wrong = read("[push]\nttl = 5\n[fcm]\nhigh = 3").overlaid(
        [
            ("push.ttl", "1m"),
            ("pushnotification_removeon_reject", "0"),
            ("fcm.low", "4"),
            ("fcm_key7", "k.json"),
            ("push.nothing", "1"),
            ("push.enabled", "perhaps"),
        ]
    )
    assert configuration[PushSettings] == PushSettings(ttl=60.0)
    assert configuration[RemoveOnSettings].reject is False
    assert configuration[FcmSettings] == FcmSettings(high=3, key={7: "k.json"})
    assert [str(each) for each in wrong] == [
        "settings table: fcm.low: is above high",
        'settings table: push.enabled: must be auto, off, on or always, not "perhaps"',
        "settings table: push.nothing: there is no such setting",
    ]


def test_a_setting_from_the_console_is_checked_and_named_as_usual() -> None:
    configuration = read("")
    assert configuration.checked("pushnotification", "2") == ("push.enabled", "always")
    assert configuration.checked("fcm_key3", "x.json") == ("fcm.key3", "x.json")
    for name, text in (("push.enabled", "9"), ("fcm.low", "9"), ("pushkit_port", "1"), ("push.app.id", "x")):
        with pytest.raises(ConfigurationErrors):
            configuration.checked(name, text)


def test_a_reload_tells_what_changes() -> None:
    old = read('[[push.app]]\nid = "x"')
    new = read('pushnotification = "off"\n[fcm]\nhigh = 6\n[[push.app]]\nid = "y"')
    assert [(change.name, change.old, change.new, change.restart) for change in changes(old, new)] == [
        ("push.enabled", "auto", "off", False),
        ("fcm.high", "5", "6", True),
        ("push.app", "1 given", "1 given", False),
    ]
    assert changes(old, old) == []
    assert old.shown()["push.ttl"] == "0s"


def test_the_example_file_changes_nothing_and_works_uncommented() -> None:
    uncommented = (
        "\n".join(
            line[1:] if line.startswith("#") and line[1:2] not in (" ", "") else line
            for line in example(ALL).splitlines()
        )
        .replace('id = ""  # required', 'id = "x"')
        .replace('name = ""  # default: the host name', 'name = "n"')
        .replace('key = ""', "")
    )
    assert read(uncommented)[PushSettings] == PushSettings()
    assert read(example(ALL))[PushSettings] == PushSettings()


def test_the_reference_names_everything() -> None:
    import docutils.core

    page = reference(ALL)
    for words in (
        "``enabled``",
        "``pushnotification``",
        "[[push.app]]",
        "Default: the host name",
        "Accepted without effect",
    ):
        assert words in " ".join(page.split())
    docutils.core.publish_doctree(page, settings_overrides={"halt_level": 2, "report_level": 2})
