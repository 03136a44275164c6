"""How apps hand over their token."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc import sip
from sbc.push import dialects
from sbc.push.contact import parameters, without
from sbc.push.tokens import MAX_PRID, AppRules, PushToken, UserAgentRule, apple_app, choose
from sbc.sip.message import parse

RULES = AppRules()


def register(contact: str = "<sip:alice@192.0.2.1:5060>", *headers: str) -> sip.Request:
    lines = [
        "REGISTER sip:example.com SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1",
        "Max-Forwards: 70",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:alice@example.com>",
        "Call-ID: 1@192.0.2.1",
        "CSeq: 1 REGISTER",
        f"Contact: {contact}",
        *headers,
        "Content-Length: 0",
    ]
    return parse("\r\n".join([*lines, "", ""]).encode())


def token(*headers: str, contact: str = "<sip:alice@192.0.2.1>", rules: AppRules = RULES) -> PushToken | None:
    tokens = dialects.read(register(contact, *headers), rules).tokens
    return tokens[0] if tokens else None


def test_x_mpush_names_provider_package_and_token() -> None:
    assert token("X-MPUSH: a:com.example.app:dEf:APA91b_x") == PushToken(
        "fcm", "com.example.app", "dEf:APA91b_x", "", "android"
    )
    assert token("X-MPUSH: i:com.example.app:00ff") == PushToken("apns", "com.example.app", "00ff")


@pytest.mark.parametrize(
    ("prefix", "environment"), [("s", "sandbox"), ("p", "production"), ("d", ""), ("S", "sandbox")]
)
def test_x_mpush_prefix_picks_the_environment(prefix: str, environment: str) -> None:
    assert token(f"X-MPUSH: {prefix}:i:com.example.app:00ff") == PushToken(
        "apns", "com.example.app", "00ff", environment
    )


def test_x_mpush_w_is_fcm_unless_web_push_is_on_and_j_needs_a_setting() -> None:
    web = "X-MPUSH: w:app:https://push.example/a:b"
    assert token(web) == PushToken("fcm", "app", "https://push.example/a:b", "", "browser")
    assert token(web, rules=AppRules(webpush=True)) == PushToken("webpush", "app", "https://push.example/a:b")
    assert token("X-MPUSH: j:app:T") is None
    assert token("X-MPUSH: j:app:T", rules=AppRules(ios_by_fcm=True)) == PushToken("fcm", "app", "T", "", "ios")


def test_a_browser_s_subscription_brings_its_keys() -> None:
    said = json.dumps({"endpoint": "https://push.example/x", "keys": {"p256dh": "KEY", "auth": "SECRET"}})
    rules = AppRules(webpush=True)
    wanted = "https://push.example/x#p256dh=KEY&auth=SECRET"
    assert token(f"X-MPUSH: w:app:{said}", rules=rules) == PushToken("webpush", "app", wanted)
    contact = (
        f"<sip:a@h;pn-provider=webpush;pn-prid={quote('https://push.example/x', safe='')};pn-p256dh=KEY;pn-auth=SECRET>"
    )
    assert token(contact=contact) == PushToken("webpush", "", wanted)


@pytest.mark.parametrize("value", ["null", "NULL", '"null"', " Null "])
def test_null_unbinds_in_every_dialect(value: str) -> None:
    assert dialects.read(register("<sip:a@h>", f"X-MPUSH: {value}"), RULES).unbind
    for name in ("pn-prid", "pn-tok", "push-token-id"):
        found = dialects.read(register(f"<sip:a@h>;pn-provider=apns;{name}={value.strip()}"), RULES)
        assert found.unbind
        assert found.query is None
        assert found.tokens == ()


@pytest.mark.parametrize("value", ["", "x", "a", "a:b", "a::t", "q:app:token", "s:a:app"])
def test_a_broken_x_mpush_is_a_problem_not_a_token(value: str) -> None:
    found = dialects.read(register("<sip:a@h>", f"X-MPUSH: {value}"), RULES)
    assert found.tokens == ()
    assert found.problems


def test_x_piid_is_an_ha1_of_a_known_hash() -> None:
    def ha1(value: str) -> str | None:
        return dialects.read(register("<sip:a@h>", f"X-PIID: {value}"), RULES).ha1

    assert ha1("0123456789ABCDEF0123456789abcdef") == "0123456789abcdef0123456789abcdef"
    assert ha1("0123456789abcdef0123456789abcde") is None
    assert ha1("0123456789abcdef0123456789abcdeg") is None
    assert dialects.read(register("<sip:a@h>", "X-PIID: secret"), RULES).problems == (
        "X-PIID: an HA1 has 32 (MD5) or 64 (SHA-256, SHA-512-256) hexadecimal digits",
    )
    long = "0123456789abcdef" * 4
    assert ha1(long) == long
    assert ha1(f"sha-512-256:{long}") == f"SHA-512-256:{long}"
    assert ha1(f"SHA-256:{long}") == long
    for bad in (f"SHA-512-256:{long[:32]}", f"MD5:{long}", f"SHA-1:{long}", long[:63], f":{long[:31]}"):
        assert ha1(bad) is None, bad


def test_rfc_8599_in_the_uri_and_beside_it() -> None:
    inside = "<sip:a@h;pn-provider=fcm;pn-param=proj;pn-prid=tok%3Aen;transport=tls>"
    beside = '<sip:a@h>;pn-provider="fcm";PN-PARAM=proj;pn-prid="tok:en"'
    both = "<sip:a@h;pn-provider=fcm;pn-param=proj;pn-prid=tok:en>;pn-prid=other"
    for contact in (inside, beside, both, "sip:a@h;pn-provider=fcm;pn-param=proj;pn-prid=tok:en"):
        assert token(contact=contact) == PushToken("fcm", "proj", "tok:en")


def test_an_apple_param_has_team_bundle_and_services() -> None:
    contact = "<sip:a@h;pn-provider=apns;pn-param=ABCDE12345.com.example.app.{};pn-prid={}>"
    one = dialects.read(register(contact.format("voip", "AA")), RULES)
    assert one.team == "ABCDE12345"
    assert one.tokens == (PushToken("apns", "com.example.app", "AA", "", "voip"),)
    two = dialects.read(register(contact.format("remote&voip", "AA:remote&BB:voip")), RULES).tokens
    assert two == (
        PushToken("apns", "com.example.app", "AA", "", "remote"),
        PushToken("apns", "com.example.app", "BB", "", "voip"),
    )
    assert choose(two, call=True) == two[1]
    assert choose(two, call=False) == two[0]
    bare = dialects.read(register(contact.format("voip&remote", "AA&BB")), RULES).tokens
    assert [each.kind for each in bare] == ["voip", "remote"]


def test_the_team_id_is_stripped_as_the_setting_says() -> None:
    def bundle(param: str, **rules: str) -> str:
        return apple_app(param, AppRules(**rules)).bundle  # type: ignore[arg-type]

    assert bundle("ABCDE12345.com.example") == "com.example"
    assert bundle("com.example.app") == "com.example.app"
    assert bundle("short.com.example", team_id="on") == "com.example"
    assert bundle("ABCDE12345.com.example", team_id="off") == "ABCDE12345.com.example"
    assert bundle("com.example.push", suffix=".push") == "com.example"
    assert apple_app("com.example.voip.dev", RULES) == apple_app("com.example.voip.dev", AppRules(suffix=""))
    assert apple_app("com.example.voip.dev", RULES).environment == "sandbox"


@pytest.mark.parametrize(
    ("kind", "provider"), [("apple", "apns"), ("firebase", "fcm"), ("google", "fcm"), ("Apple", "apns"), ("fcm", "fcm")]
)
def test_the_two_older_families(kind: str, provider: str) -> None:
    wanted = PushToken(provider, "com.example.app", "T0K")
    assert token(contact=f"<sip:a@h>;pn-type={kind};app-id=com.example.app;pn-tok=T0K") == wanted
    assert token(contact=f"<sip:a@h;pn-type={kind};app-id=com.example.app;pn-tok=T0K>") == wanted
    family = f"<sip:a@h>;push-token-type={kind};push-token-app=com.example.app;push-token-id=T0K"
    assert token(contact=family) == wanted


def test_an_app_known_by_its_user_agent_needs_only_a_token() -> None:
    rules = AppRules(user_agents=(UserAgentRule(re.compile("MyPhone/.*"), "com.example.phone", "apns", "sandbox"),))
    wanted = PushToken("apns", "com.example.phone", "AA", "sandbox")
    for name in ("pn-prid", "pn-tok", "push-token-id"):
        assert token("User-Agent: MyPhone/2.1 (iOS)", contact=f"<sip:a@h;{name}=AA>", rules=rules) == wanted
    assert token("User-Agent: Other", contact="<sip:a@h;pn-prid=AA>", rules=rules) is None
    found = token("User-Agent: MyPhone/2", contact="<sip:a@h;pn-provider=apns;pn-prid=AA>", rules=rules)
    assert found == PushToken("apns", "com.example.phone", "AA")


@pytest.mark.parametrize(("setting", "kept"), [("on", ["fcm", "webpush"]), ("auto", ["fcm"]), ("off", [])])
def test_tokens_that_come_over_a_websocket_count_as_the_setting_says(setting: str, kept: list[str]) -> None:
    rules = AppRules(webpush=True, websocket=setting, providers=frozenset(("fcm",)))

    def heard(*headers: str, contact: str = "<sip:b@h>") -> dialects.Handover:
        return dialects.over_websocket(dialects.read(register(contact, *headers), rules), rules)

    found = []
    for value in ("a:com.example:tok:en", "w:app:https://push.example/x"):
        handover = heard(f"X-MPUSH: {value}", f"X-PIID: {'0' * 32}")
        found += [token.provider for token in handover.tokens]
        assert handover.ha1 == "0" * 32
        assert handover.mentioned is bool(handover.tokens)
    assert found == kept
    assert heard("X-MPUSH: null").unbind
    asked = heard(contact="<sip:b@h;pn-provider=fcm>")
    assert (asked.query is None) is (setting == "off"), "who may not hand over a token is promised nothing"


def test_a_capability_query_stores_nothing() -> None:
    one = dialects.read(register("<sip:a@h;pn-provider=apns>", "X-PIID: " + "0" * 32), RULES)
    assert (one.query, one.tokens, one.ha1, one.unsupported) == ("apns", (), None, None)
    every = dialects.read(register("<sip:a@h;pn-provider>"), RULES)
    assert every.query == ""
    unknown = dialects.read(register("<sip:a@h;pn-provider=acme>"), RULES)
    assert (unknown.query, unknown.unsupported) == ("acme", "acme")
    assert dialects.read(register("<sip:a@h>"), RULES).query is None


def test_an_unsupported_provider_is_named() -> None:
    found = dialects.read(register("<sip:a@h;pn-provider=acme;pn-prid=1>"), RULES)
    assert found.unsupported == "acme"
    assert found.tokens == ()
    only = AppRules(providers=frozenset({"apns"}))
    assert dialects.read(register("<sip:a@h;pn-provider=fcm;pn-param=p;pn-prid=1>"), only).unsupported == "fcm"


def test_what_a_proxy_before_us_promised_is_seen() -> None:
    caps = 'Feature-Caps: *;+sip.pns="apns";+sip.pnsreg="130"'
    assert dialects.read(register("<sip:a@h>", caps), RULES).chained
    assert not dialects.read(register("<sip:a@h>", "Feature-Caps: *;+sip.other"), RULES).chained
    assert dialects.read(register("<sip:a@h>;+sip.pnsreg"), RULES).pnsreg


def test_upper_server_headers() -> None:
    headers = ("X-Sy.Uppersrv: pbx.example:5070", "X-Sy.Upperproxy: edge.example", "X-Sy.Uppersrvd: example")
    found = dialects.read(register("<sip:a@h>", *headers), RULES)
    assert (found.upper_server, found.upper_proxy, found.upper_domain) == (
        "pbx.example:5070",
        "edge.example",
        "example",
    )


def test_oversized_and_odd_tokens_are_refused() -> None:
    assert token(f"X-MPUSH: a:app:{'x' * (MAX_PRID + 1)}") is None
    assert token("X-MPUSH: i:app:../../etc/passwd") is None
    assert token("X-MPUSH: a:app:to ken") is None
    assert token("X-MPUSH: w:app:javascript:1", rules=AppRules(webpush=True)) is None


def test_strip_leaves_everything_else_as_it_came() -> None:
    request = register(
        '"A, <b>; c" <sip:al;pn-x=1@192.0.2.1:5060;pn-provider=apns;ob;pn-prid=AA:voip;transport=tls?X-H=a;pn-y=1>'
        ' ; +sip.instance="<urn:uuid:1;pn-z=2>";app-id=x ;reg-id=1;pn-tok="a,b";expires=300, <sip:b@h>;q=0.5',
        "X-MPUSH: a:b:c",
        "x-sy.uppersrv: h",
        "X-Other:  kept as it is ",
        "X-PIID: " + "0" * 32,
    )
    before = request.render()
    dialects.strip(request)
    after = request.render()
    assert b"pn-provider" not in after
    for line in (b"X-MPUSH: a:b:c\r\n", b"x-sy.uppersrv: h\r\n", b"X-PIID: " + b"0" * 32 + b"\r\n"):
        before = before.replace(line, b"")
    for part in (b";pn-provider=apns", b";pn-prid=AA:voip", b";app-id=x ", b';pn-tok="a,b"'):
        before = before.replace(part, b"")
    assert after == before


def test_strip_touches_nothing_without_push() -> None:
    request = register("<sip:a@h;transport=tcp>;expires=60", "m: <sip:b@h>;q=1")
    before = request.render()
    dialects.strip(request)
    assert request.render() == before


@given(st.binary(max_size=200))
def test_parameters_of_garbage_never_fail(line: bytes) -> None:
    found = parameters(line)
    assert len(without(line, found)) <= len(line)


@given(
    st.lists(
        st.sampled_from([b"<", b">", b";", b",", b'"', b"\\", b"=", b"pn-prid", b"sip:a@h", b"?", b" "]), max_size=30
    )
)
def test_stripping_twice_changes_nothing_more(parts: list[bytes]) -> None:
    line = b"".join(parts)
    once = without(line, [each for each in parameters(line) if each.name.startswith("pn-")])
    assert len(once) <= len(line)
    assert all(one.end <= two.start for one, two in zip(parameters(line), parameters(line)[1:], strict=False))


@pytest.mark.parametrize(
    ("contact", "headers", "silent"),
    [
        ("<sip:alice@192.0.2.1;ob>;expires=60", (), True),
        ('"pn" <sip:alice@192.0.2.1>;reg-id=1', ("Supported: path", "User-Agent: Phone/1"), True),
        ("*", (), True),
        ("<sip:alice@192.0.2.1;PN-Provider=fcm>", (), False),
        ("<sip:alice@192.0.2.1>;app-id=x", (), False),
        ("<sip:alice@192.0.2.1>;+sip.pnsreg", (), False),
        ("<sip:alice@192.0.2.1>;push-token-id=1", (), False),
        ("<sip:alice@192.0.2.1>", ("X-MPUSH: null",), False),
        ("<sip:alice@192.0.2.1>", ("x-piid: 0",), False),
        ("<sip:alice@192.0.2.1>", ("X-Sy.Other: 1",), False),
        ("<sip:alice@192.0.2.1>", ('Feature-Caps: *;+sip.pns="apns"',), False),
    ],
)
def test_a_register_without_a_word_of_push_need_not_be_read(
    contact: str, headers: tuple[str, ...], silent: bool
) -> None:
    request = register(contact, *headers)
    assert dialects.silent(request) is silent
    if silent:
        stripped = request.copy()
        dialects.strip(stripped)
        assert stripped.render() == request.render()
        assert dialects.read(request, RULES) == dialects.Handover()
