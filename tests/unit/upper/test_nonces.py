"""Nonces that are used again."""

from __future__ import annotations

from sbc.sip.build import make_request, respond
from sbc.sip.digest import Challenge
from sbc.upper import nonces
from sbc.upper.nonces import FRUITLESS, TRY_AGAIN, Nonce, Nonces, next_nonce

CHALLENGE = Challenge(realm=b"pbx", nonce=b"n1", qop=("auth",))
REGISTER = make_request(
    b"REGISTER", b"sip:pbx", via=b"SIP/2.0/UDP h;branch=z9hG4bK1", from_=b"<sip:a@h>;tag=1", to=b"<sip:a@h>",
    call_id=b"c", cseq=8,
)  # fmt: skip


def test_one_is_kept_for_each_registration_and_server():
    kept = Nonces()
    kept.keep("pbx", 7, Nonce(CHALLENGE, 1, False))
    assert kept.take("spare", 7) is None
    assert kept.take("pbx", 7) == Nonce(CHALLENGE, 1, False)
    assert kept.take("pbx", 7) is None, "two refreshes at once never use the same count"


def test_the_one_unused_longest_makes_room(monkeypatch):
    monkeypatch.setattr(nonces, "MAX_NONCES", 3)
    kept = Nonces()
    for number in range(5):
        kept.keep("pbx", number, Nonce(CHALLENGE, 1, False))
    assert len(kept) == 3
    assert [kept.take("pbx", number) is not None for number in range(5)] == [False, False, True, True, True]


def test_a_server_whose_nonces_die_young_costs_no_memory():
    kept = Nonces()
    for _ in range(FRUITLESS):
        kept.reused("pbx", accepted=False)
    for number in range(TRY_AGAIN):
        kept.keep("pbx", number, Nonce(CHALLENGE, 1, False))
        kept.keep("other", number, Nonce(CHALLENGE, 1, False))
    assert kept.take("other", 5) is not None
    assert len(kept) == TRY_AGAIN, "one of them, to find out whether that has changed"
    kept.reused("pbx", accepted=True)
    kept.keep("pbx", 1, Nonce(CHALLENGE, 1, False))
    assert kept.take("pbx", 1) is not None


def test_the_server_may_announce_the_next_one():
    used = Nonce(CHALLENGE, 4, False)
    assert next_nonce(respond(REGISTER, 200), used) is used
    ok = respond(REGISTER, 200, headers=[(b"Authentication-Info", b'qop=auth, nextnonce="n2", nc=00000004')])
    found = next_nonce(ok, used)
    assert (found.challenge.nonce, found.count, found.challenge.realm) == (b"n2", 0, b"pbx")
    empty = respond(REGISTER, 200, headers=[(b"Authentication-Info", b'nextnonce=""')])
    assert next_nonce(empty, used) is used
