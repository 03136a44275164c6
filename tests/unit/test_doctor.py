"""What the push doctor says."""

from __future__ import annotations

from dataclasses import replace

from sbc import doctor
from sbc.push.credentials import App, Keyring
from sbc.push.habits import entry
from sbc.push.keys import ClientCertificate, VapidKey
from sbc.push.orders import Outcome, PushResult
from sbc.store.records import Binding, Push, Subscriber, Target, Token, User

NOW = 1_700_000_000.0
DAY = 86_400.0


def certificate(days, bundle="com.example.phone", sandbox=False):
    return ClientCertificate(bundle, NOW + days * DAY, sandbox, b"", "f")


def around(credential=None, **more):
    apps = {}
    if credential is not None:
        apps[("apns", "com.example.phone")] = App("com.example.phone", "apns", "production", credential, "pushkit.p12")
    given = {"keyring": Keyring(apps), "enabled": ["apns"], "problems": [], "suspended": [], "now_at": NOW}
    return doctor.Surroundings(**{**given, **more})


def said(findings, level=None):
    return " | ".join(f"{one.text} {one.advice}" for one in findings if level in (None, one.level))


def app(*given, **more):
    return doctor.app("apns", "com.example.phone", around(*given, **more))


def test_an_app_in_good_health():
    assert said(app(certificate(300)), "bad") == ""
    assert "good until" in said(app(certificate(300)), "good")


def test_an_app_without_credential():
    findings = app(problems=["pushkit.p12: wrong password"])
    assert "no credential" in said(findings, "bad")
    assert "wrong password" in said(findings, "bad")
    assert "reload" in said(findings, "bad")


def test_certificates_that_end_and_that_ended():
    assert "ends on" in said(app(certificate(10)), "warning")
    assert "ended on" in said(app(certificate(-1)), "bad")


def test_a_certificate_for_another_app_or_the_sandbox():
    assert "com.example.other" in said(app(certificate(300, "com.example.other")), "bad")
    assert "sandbox" in said(app(certificate(300, sandbox=True)), "bad")


def test_switched_off_and_suspended():
    assert "switched off" in said(app(certificate(300), enabled=[]), "bad")
    open_one = [("apns", "com.example.phone", "BadCertificate")]
    assert "BadCertificate" in said(app(certificate(300), suspended=open_one), "bad")


BOB = Subscriber(
    User(id=1, username="bob", domain="pbx", upper="pbx", ha1="x", last_seen_at=NOW - 120, user_agent="Phone/1"),
    (Target(Binding(identity="t", contact="sip:bob@192.0.2.7")),),
)
TOKEN = Token(
    provider="apns", param="com.example.phone", prid="ab", kind="voip", registered_at=NOW - DAY, wakes=entry(2.0) * 3
)


def user(found=BOB, tokens=(TOKEN,), pushes=()):
    return doctor.user(found, tokens, pushes, around(certificate(300)))


def test_a_user_in_good_health():
    findings = user()
    assert said(findings, "bad") == said(findings, "warning") == ""
    assert "wakes in 2.0 s" in said(findings)


def test_nobody_of_that_name():
    assert "never registered" in said(user(None, ()), "bad")


def test_no_token_no_ha1():
    findings = user(replace(BOB, user=replace(BOB.user, ha1="")), ())
    assert "no push token" in said(findings, "bad")
    assert "X-PIID" in said(findings, "warning")


def test_tokens_that_are_dead_doubtful_old_or_never_woke():
    assert "register again" in said(user(tokens=(replace(TOKEN, state="dead"),)), "bad")
    assert "failures in a row" in said(user(tokens=(replace(TOKEN, state="suspect", failures=3),)), "warning")
    assert "may be gone" in said(user(tokens=(replace(TOKEN, registered_at=NOW - 90 * DAY),)), "warning")
    assert "never woke" in said(user(tokens=(replace(TOKEN, wakes="", pushed_at=NOW),)), "warning")
    assert "voip and remote" in said(user(tokens=(replace(TOKEN, kind=""),)), "warning")


def test_the_last_pushes():
    push = Push(type="call", provider="apns", app="com.example.phone", sent_at=NOW, outcome="accepted", woke_after=1.5)
    assert "woke after 1.5 s" in said(user(pushes=(push,)), "good")
    assert "did not wake" in said(user(pushes=(replace(push, woke_after=None),)), "warning")
    refused = replace(push, outcome="config_error", status=403, reason="InvalidProviderToken")
    assert "InvalidProviderToken" in said(user(pushes=(refused,)), "bad")


def test_a_push_to_nobody():
    assert doctor.dry("apns", "x", PushResult(outcome=Outcome.DEAD_TOKEN, status=400)).level == "good"
    assert doctor.dry("apns", "x", PushResult(outcome=Outcome.CONFIG_ERROR, status=403)).level == "bad"


def test_a_key_without_an_end_has_no_date():
    findings = doctor.app(
        "webpush",
        "",
        around(
            enabled=["webpush"],
            keyring=Keyring({("webpush", ""): App("", "webpush", "", VapidKey(None, "B", "f"), "v")}),
        ),
    )
    assert [one.level for one in findings] == ["good"]
