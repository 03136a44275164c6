"""Templates: filled in, checked, cut to size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc.push import apns, fcm, stock
from sbc.push.orders import PushOrder, PushType
from sbc.push.settings import FcmSettings, PushSettings
from sbc.push.templates import KEYWORDS, MessageTooLongError, Template, TemplateError
from sbc.push.tokens import PushToken
from sbc.push.wording import collapse_id, keywords, push_type
from tests.unit.push.doubles import DEVICE
from tests.unit.push.world import World

SETTINGS = PushSettings()
APPLE = PushToken("apns", "com.example.phone", DEVICE)
GOOGLE = PushToken("fcm", "proj", "dEf:APA91b", "", "android")
TEMPLATES = stock.load("/nonexistent")


def order(kind: PushType = PushType.CALL, **more: str) -> PushOrder:
    return PushOrder(type=kind, tokens=(APPLE,), **{"call_id": "c1@h", "from_user": "bob", "to_user": "alice", **more})


def values(**given: str) -> dict[str, str]:
    return {**dict.fromkeys(KEYWORDS, ""), "TYPE": "0", "TTLNUM": "0", "APRIORITY": "10", **given}


def filled(text: str, limit: int = 4096, **given: str) -> object:
    return json.loads(Template(text, "apns", "t.txt").render(values(**given), limit))


def test_the_longest_keyword_counts() -> None:
    text = (
        '{"a": "TOUSERNAME", "b": "TO", "c": "FROMDISPLAYNAME FROMUSERNAME FROM", "d": "NPRIORITY PRIORITY APRIORITY"}'
    )
    said = filled(
        text, TOUSERNAME="u", TO="t", FROMDISPLAYNAME="d", FROMUSERNAME="n", FROM="f", NPRIORITY="N", PRIORITY="P"
    )
    assert said == {"a": "u", "b": "t", "c": "d n f", "d": "N P 10"}


def test_keywords_touch_letters_and_stand_bare_where_they_are_numbers() -> None:
    assert filled('{"ttl": "TTLNUMs", "n": TTLNUM, "p": "PRIORITY_MAX"}', TTLNUM="30", PRIORITY="high") == {
        "ttl": "30s",
        "n": 30,
        "p": "PRIORITY_MAX",
    }


_CALL = {
    "PACKAGE": "com.example.phone", "TOKEN": DEVICE, "TO": "sip:alice@example.com", "TOUSERNAME": "alice", "TYPE": "0",
    "FROM": "sip:bob@example.com", "FROMUSERNAME": "bob", "FROMDISPLAYNAME": "Bob", "CALLID": "c1@h",
    "COLLAPSEID": collapse_id("c1@h"), "PRIORITY": "high", "NPRIORITY": "PRIORITY_MAX", "APRIORITY": "10",
    "TTLNUM": "9", "PUSHTYPE": "voip", "PUSHID": "P", "SOUND": "ring.caf", "MSG": "Incoming VoIP call from Bob",
    "MESSAGE": "Incoming VoIP call from Bob", "TITLE": "Call from Bob", "BODY": "Incoming VoIP call from Bob",
}  # fmt: skip
_ELSE = {"NPRIORITY": "PRIORITY_HIGH", "APRIORITY": "5", "PUSHTYPE": "alert"}


@pytest.mark.parametrize("name", KEYWORDS)
@pytest.mark.parametrize(
    ("kind", "differs"),
    [
        (PushType.CALL, {}),
        (
            PushType.CHAT,
            _ELSE | {"TYPE": "1", "SOUND": "ping.caf", "TITLE": "Message from Bob"}
            | dict.fromkeys(("MSG", "MESSAGE", "BODY"), "hello"),
        ),
        (
            PushType.CANCEL,
            _ELSE | {"TYPE": "2", "PRIORITY": "normal", "SOUND": "", "TITLE": "Missed call from Bob"}
            | dict.fromkeys(("MSG", "MESSAGE", "BODY"), "Missed VoIP call from Bob"),
        ),
        (
            PushType.CUSTOM,
            _ELSE | {"TYPE": "3", "SOUND": "", "TITLE": "Notification"}
            | dict.fromkeys(("MSG", "MESSAGE", "BODY"), "hello"),
        ),
        (
            PushType.REFRESH,
            _ELSE | {"TYPE": "4", "PRIORITY": "normal", "SOUND": "", "TITLE": "Registration"}
            | dict.fromkeys(("MSG", "MESSAGE", "BODY"), "Registration refresh"),
        ),
    ],
)  # fmt: skip
def test_every_keyword_in_every_kind_of_push(kind: PushType, differs: dict[str, str], name: str) -> None:
    settings = PushSettings(sound_call="ring.caf", sound_chat="ping.caf")
    said = PushOrder(
        type=kind, tokens=(APPLE,), call_id="c1@h", from_uri="sip:bob@example.com", from_user="bob", from_display="Bob",
        to_uri="sip:alice@example.com", to_user="alice",
        message="hello" if kind in (PushType.CHAT, PushType.CUSTOM) else "",
    )  # fmt: skip
    filled_in = keywords(said, APPLE, settings, push_id="P", push_type=push_type(said, settings), ttl=9)
    wanted = {**_CALL, **differs}[name]
    read = json.loads(Template(f'{{"a": "{name}"}}', "webpush", "t.txt").render(filled_in, 4096))
    assert read == ({} if name == "SOUND" and not wanted else {"a": wanted})


def test_a_reload_takes_a_mended_template_and_keeps_the_one_before_a_broken_one(tmp_path: Path) -> None:
    folder = tmp_path / "push"
    world = World(folder)
    file = folder / "pushkitmessage.txt"

    def text() -> object:
        assert world.order(APPLE)[0].accepted
        bodies = [body for server in world.net.servers for _, head, body in server.requests if "/3/" in head[":path"]]
        return json.loads(bodies[-1])["mine"]

    file.write_text('{"aps": {}, "mine": "first TYPE"}')
    assert world.service.reload(world.configuration) == ()
    assert text() == "first 0"
    file.write_text('{"aps": {}, "mine": second}')
    assert [problem.startswith(f"{file}:1:21: ") for problem in world.service.reload(world.configuration)] == [True]
    assert text() == "first 0"
    file.write_text('{"aps": {}, "mine": "third TYPE"}\n--EOF--\nwhatever')
    assert world.service.reload(world.configuration) == ()
    assert text() == "third 0"


def test_what_follows_eof_is_ignored() -> None:
    assert filled('{"a": "BODY"}\n--EOF--\nnot { JSON TOKEN') == {"a": ""}
    assert filled('\ufeff{"a": 1}\r\n--EOF-- \r\nx') == {"a": 1}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "a": "TOKEN",\n  "b": ,\n}', (3, 8)),
        ('{"a": "FROMDISPLAYNAME" "b": 1}', (1, 25)),
        ('{"a": TOKEN}', (1, 7)),
        ("", (1, 1)),
        ("[1]", (1, 1)),
        ('{"a": 1, "a": 2}', (1, 1)),
        ('{"a": "' + "x" * 4000 + '"}', (1, 1)),
    ],
)
def test_an_error_has_line_and_column(text: str, place: tuple[int, int]) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(text, "apns", "t.txt")
    assert (caught.value.line, caught.value.column) == place
    assert str(caught.value).startswith(f"t.txt:{place[0]}:{place[1]}: ")


def test_data_values_of_fcm_become_texts() -> None:
    template = Template('{"message": {"token": "TOKEN", "data": {"t": TYPE, "l": ["BODY"]}}}', "fcm", "t.txt")
    said = json.loads(template.render(values(TOKEN="x", TYPE="1", BODY='a"b'), 4096))
    assert said["message"]["data"]["t"] == "1"
    with pytest.raises(TemplateError):
        Template('{"token": "TOKEN"}', "fcm", "t.txt")


@given(st.dictionaries(st.sampled_from(["FROMDISPLAYNAME", "BODY", "TITLE", "CALLID", "FROM"]), st.text(max_size=60)))
def test_no_display_name_breaks_the_json(given: dict[str, str]) -> None:
    said = json.loads(TEMPLATES.apns.render(values(**given), 4096))
    wanted = given.get("CALLID", "").encode("utf-8", "replace").decode()
    assert said["ncallid"] == wanted
    assert set(said["aps"]) == {"alert", "content-available"}


@given(st.text(max_size=3000), st.text(max_size=3000), st.integers(900, 4096))
def test_the_limit_always_holds(body: str, name: str, limit: int) -> None:
    sent = TEMPLATES.apns.render(values(BODY=body, MSG=body, FROMDISPLAYNAME=name, TITLE=name, CALLID="c" * 50), limit)
    assert len(sent) <= limit
    json.loads(sent)


def test_short_texts_survive_the_cutting_of_long_ones() -> None:
    said = json.loads(TEMPLATES.apns.render(values(MSG="ü" * 4000, FROMDISPLAYNAME="Bob", CALLID="c1"), 4096))
    assert said["ndisplayname"] == "Bob"
    assert said["ncallid"] == "c1"
    assert 1000 < len(said["nmsg"]) < 4000


def test_a_token_is_never_cut() -> None:
    with pytest.raises(MessageTooLongError):
        TEMPLATES.fcm.render(values(TOKEN="x" * 5000), 4096)


def call(
    to: PushToken, kind: PushType = PushType.CALL, settings: PushSettings = SETTINGS, **more: str
) -> dict[str, object]:
    post = apns.build(
        order(kind, **more), to, TEMPLATES.apns, settings, push_id="P", authorization=b"bearer T", ttl=0, now_at=1000.0
    )
    names = {name.decode(): value.decode() for name, value in post.headers}
    return {"path": post.path.decode(), "body": json.loads(post.body), **names}


def test_an_apns_call_is_a_voip_push() -> None:
    said = call(APPLE, from_display="Bob")
    assert said["path"] == "/3/device/" + "ab" * 32
    assert (said["apns-push-type"], said["apns-topic"]) == ("voip", "com.example.phone.voip")
    assert (said["apns-priority"], said["apns-expiration"], said["apns-id"]) == ("10", "0", "P")
    assert len(str(said["apns-collapse-id"])) <= 64
    assert said["body"]["aps"]["alert"] == {"title": "Call from Bob", "body": "Incoming VoIP call from Bob"}  # type: ignore[index]
    assert {"ntype": "0", "nfromusername": "bob", "ncallid": "c1@h", "ntouser": "alice"}.items() <= said["body"].items()  # type: ignore[attr-defined]


def test_only_calls_are_voip_pushes() -> None:
    chat = call(APPLE, PushType.CHAT, message="hello")
    assert (chat["apns-push-type"], chat["apns-topic"], chat["apns-priority"]) == ("alert", "com.example.phone", "5")
    assert chat["body"]["aps"]["alert"]["body"] == "hello"  # type: ignore[index]
    assert call(APPLE, PushType.CANCEL)["apns-push-type"] == "alert"
    refresh = call(APPLE, PushType.REFRESH)
    assert refresh["apns-push-type"] == "background"
    assert refresh["body"]["aps"] == {"content-available": 1}  # type: ignore[index]
    assert call(PushToken("apns", "a", "AA", "", "remote"))["apns-push-type"] == "alert"


def test_topic_and_push_type_settings() -> None:
    assert "apns-topic" not in call(APPLE, settings=PushSettings(apns_topic="null"))
    assert call(APPLE, settings=PushSettings(apns_topic="x.y"))["apns-topic"] == "x.y"
    assert call(APPLE, settings=PushSettings(apns_push_type="pushtotalk"))["apns-topic"] == "com.example.phone.voip-ptt"


def google(
    to: PushToken = GOOGLE, kind: PushType = PushType.CALL, rule: str = "auto", ios: str = "auto"
) -> dict[str, object]:
    post = fcm.build(
        order(kind, message="hi"), to, TEMPLATES.fcm, PushSettings(fcm=ios), FcmSettings(remove_notification=rule),
        path=b"/v1/projects/proj/messages:send", push_id="P", authorization=b"Bearer T", ttl=7,
    )  # fmt: skip
    assert dict(post.headers)[b"authorization"] == b"Bearer T"
    message: dict[str, object] = json.loads(post.body)["message"]
    return message


def test_an_fcm_call_is_data_for_its_platform_alone() -> None:
    said = google()
    assert set(said) == {"token", "data", "android"}
    assert said["token"] == "dEf:APA91b"
    assert said["android"] == {"priority": "high", "ttl": "7s", "collapse_key": keywords(
        order(), GOOGLE, SETTINGS, push_id="", push_type="", ttl=0)["COLLAPSEID"]}  # fmt: skip
    assert all(isinstance(value, str) for value in said["data"].values())  # type: ignore[attr-defined]


def test_the_notification_part_is_dropped_as_the_setting_says() -> None:
    assert "notification" in google(kind=PushType.CHAT)
    assert "notification" not in google(kind=PushType.REFRESH)
    assert "notification" in google(rule="keep")
    assert "notification" in google(kind=PushType.CANCEL, rule="calls")
    assert "notification" not in google(kind=PushType.CHAT, rule="always")
    assert google(kind=PushType.REFRESH)["android"]["priority"] == "normal"  # type: ignore[index]


def test_parts_of_platforms_not_in_use_are_dropped() -> None:
    def parts(kind: str, ios: str = "auto") -> set[str]:
        return set(google(PushToken("fcm", "p", "t", "", kind), ios=ios)) & {"android", "apns", "webpush"}

    assert parts("android") == {"android"}
    assert parts("ios") == {"apns"}
    assert parts("browser") == {"webpush"}
    assert parts("") == {"android"}
    assert parts("", "ios") == {"android", "apns"}


def test_the_operator_s_template_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    file = tmp_path / "pushkitmessage.txt"
    file.write_text('{"aps": {}, "mine": "BODY"}')
    first = stock.load(str(tmp_path))
    assert json.loads(first.apns.render(values(BODY="x"), 4096))["mine"] == "x"
    assert first.problems == ()
    file.write_text('{"aps": {},, "mine": "BODY"}')
    second = stock.load(str(tmp_path), first)
    assert second.apns is first.apns
    assert [problem.startswith(f"{file}:1:12: ") for problem in second.problems] == [True]


def test_the_shipped_files_are_the_same() -> None:
    root = Path(__file__).resolve().parents[3]
    for name in stock.FILES.values():
        assert (root / "etc" / "push" / name).read_text() == (root / "sbc" / "push" / name).read_text()
