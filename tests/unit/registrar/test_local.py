"""A phone that registers again and again, and who answers it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5

import pytest

from sbc.push.dialects import Handover
from sbc.registrar import local
from sbc.registrar.decide import plan
from sbc.registrar.local import NONCE_LIFE, Door, Said, Spared, proof, spared
from sbc.sip.build import make_request, respond
from sbc.sip.digest import Challenge, Credentials, answer, ha1, verify
from sbc.store.records import UpperRegistration, User

NOW = 1_800_000_000.0
HA1 = ha1("bob", "pbx.example.com", "secret")
BOB = User(
    id=1, username="bob", domain="pbx.example.com", upper="pbx", realm="pbx.example.com", ha1=HA1, user_agent="App/1"
)
ROW = UpperRegistration(
    id=1, upper="pbx", contact="sip:opaque@192.0.2.1:5060", expires_at=NOW + 3000, next_at=NOW + 2500
)


def register(*headers, expires=600):
    return make_request(
        b"REGISTER", b"sip:pbx.example.com", via=b"SIP/2.0/UDP h;branch=z9hG4bK1",
        from_=b"<sip:bob@pbx.example.com>;tag=1", to=b"<sip:bob@pbx.example.com>", call_id=b"c", cseq=8,
        headers=[(b"Contact", b"<sip:bob@198.51.100.7>;expires=%d" % expires), *headers],
    )  # fmt: skip


def answered(door, *, nc=1, password_hash=HA1, now_at=NOW, username="bob"):
    challenge = Challenge.parse(door.challenge("pbx.example.com", now_at, b"r1"))
    value = answer(
        challenge, username=username, ha1=password_hash, method=b"REGISTER", uri=b"sip:pbx.example.com", nc=nc,
        cnonce=b"x",
    )  # fmt: skip
    return register((b"Authorization", value))


def test_who_knows_the_password_proves_it_once_for_each_count():
    door = Door(b"k" * 32)
    request = answered(door)
    assert door.ask(request, BOB, NOW + 1) is Said.PROVED
    assert door.ask(request, BOB, NOW + 2) is Said.STALE, "a replay proves nothing"
    assert door.ask(answered(door, nc=2), BOB, NOW + 3) is Said.PROVED
    assert door.ask(answered(door, nc=3), BOB, NOW + NONCE_LIFE + 1) is Said.STALE


def test_who_does_not_know_it():
    door = Door(b"k" * 32)
    assert door.ask(register(), BOB, NOW) is Said.NOTHING
    assert door.ask(answered(door, password_hash=ha1("bob", "pbx.example.com", "guess")), BOB, NOW) is Said.WRONG
    assert door.ask(answered(door, username="carol"), BOB, NOW) is Said.WRONG
    foreign = answered(Door(b"j" * 32))
    assert door.ask(foreign, BOB, NOW) is Said.NOTHING, "the upper server's nonce, or a forged one"
    assert not door.ours(foreign.first(b"authorization"))
    assert door.ours(answered(door).first(b"authorization"))
    assert not door.ours(b"Basic xyz")


@pytest.mark.parametrize("count", [b"", b"x", b"-0000001", b"0x000001", b"1", b"000000001", b"0000_001"])
def test_a_count_that_is_none_proves_nothing(count):
    door = Door(b"k" * 32)
    nonce = Challenge.parse(door.challenge("pbx.example.com", NOW, b"r1")).nonce
    first = md5(b"REGISTER:sip:pbx.example.com").hexdigest()
    response = md5(b":".join((HA1.encode(), nonce, count, b"x", b"auth", first.encode()))).hexdigest().encode()
    value = (
        b'Digest username="bob", realm="pbx.example.com", nonce="%s", uri="sip:pbx.example.com", response="%s",'
        b' algorithm=MD5, cnonce="x", qop=auth, nc=%s' % (nonce, response, count)
    )
    assert door.ask(register((b"Authorization", value)), BOB, NOW) is Said.WRONG


def test_an_unusable_nonce_is_nothing():
    door = Door(b"k" * 32)
    for nonce in (b"x", b"..", b"zz.r." + b"0" * 24):
        value = b'Digest username="bob", realm="pbx.example.com", nonce="%s", uri="sip:h", response="0"' % nonce
        assert door.ask(register((b"Authorization", value)), BOB, NOW) is Said.NOTHING


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(local, "MAX_NONCES", 2)
    door = Door(b"k" * 32)
    for number in range(5):
        assert door.ask(answered(door, now_at=NOW + number), BOB, NOW + number) is Said.PROVED
    assert len(door._used) == 2


def judged(user=BOB, rows=(ROW,), token="opaque", agent="App/1", expires=600, **handover):
    request = register(expires=expires)
    found = plan(request, Handover(**handover), request, keep_on_unregister=False)
    return spared(found, user, rows, token, user_agent=agent, now_at=NOW)


def test_the_upper_server_is_spared_what_it_knows():
    assert judged() == Spared(600)
    assert judged(expires=86_400) == Spared(86_400), "we refresh it"
    assert judged(rows=(replace(ROW, next_at=None),), expires=86_400) == Spared(3000), "nobody does"
    assert judged(ha1=HA1) == Spared(600)


@pytest.mark.parametrize(
    "news",
    [
        {"agent": "App/2"},
        {"ha1": "0" * 32},
        {"expires": 0},
        {"token": "other"},
        {"rows": ()},
        {"rows": (replace(ROW, expires_at=NOW + 30),)},
        {"rows": (replace(ROW, state="failing"),)},
        {"user": replace(BOB, ha1="")},
        {"user": replace(BOB, realm="")},
        {"user": replace(BOB, state="banned")},
    ],
)
def test_news_go_up(news):
    assert judged(**news) is None


def test_a_challenge_answered_in_the_phones_place():
    challenge = (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="n", qop="auth"')
    asked = respond(register(), 401, headers=[challenge])
    given = {"ha1": HA1, "username": "bob", "cnonce": b"c"}
    name, value = proof(asked, register(), realm="pbx.example.com", **given)
    assert name == b"authorization"
    assert verify(Credentials.parse(value), HA1, b"REGISTER")
    assert proof(asked, register(), realm="", **given) is not None, "nobody knows the realm yet"
    assert proof(asked, register(), realm="other", **given) is None, "an HA1 is for its own realm"
