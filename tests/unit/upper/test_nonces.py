"""Nonces that are used again."""

from __future__ import annotations

from sbc.sip.build import make_request, respond
from sbc.sip.digest import Challenge
from sbc.upper.nonces import FRUITLESS, LONGEST, TRY_AGAIN, Nonce, Reuse, next_nonce, read_nonce

CHALLENGE = Challenge(realm=b"pbx", nonce=b"n1", qop=("auth",))
REGISTER = make_request(
    b"REGISTER", b"sip:pbx", via=b"SIP/2.0/UDP h;branch=z9hG4bK1", from_=b"<sip:a@h>;tag=1", to=b"<sip:a@h>",
    call_id=b"c", cseq=8,
)  # fmt: skip


def test_one_is_kept_as_text():
    plain = Nonce(CHALLENGE, 3, False)
    assert plain.written() == '401 3 Digest realm="pbx", nonce="n1", algorithm=MD5, qop="auth"'
    assert read_nonce(plain.written()) == plain
    odd = Nonce(Challenge(realm=b'a"\xfc\\', nonce=b"\xff'", opaque=b"o", algorithm="SHA-256"), 0, True)
    assert read_nonce(odd.written()) == odd
    for broken in ("", "401", "401 1", "401 x Digest", "401 x Digest realm=a, nonce=b", "401 1 Basic realm=a"):
        assert read_nonce(broken) is None


def test_what_no_row_should_hold_is_not_kept():
    assert Nonce(Challenge(realm=b"pbx", nonce=b"n" * LONGEST), 1, False).written() == ""
    assert Nonce(Challenge(realm=b"pbx", nonce=b"\0"), 1, False).written() == ""


def test_a_server_whose_nonces_die_young_is_found_out_and_tried_again():
    reuse = Reuse()
    for _ in range(FRUITLESS):
        assert reuse.worthwhile("pbx")
        reuse.reused("pbx", accepted=False)
    assert sum(reuse.worthwhile("pbx") for _ in range(TRY_AGAIN)) == 1, "to find out whether that has changed"
    assert reuse.worthwhile("other")
    reuse.reused("pbx", accepted=True)
    assert reuse.worthwhile("pbx")


def test_the_server_may_announce_the_next_one():
    used = Nonce(CHALLENGE, 4, False)
    assert next_nonce(respond(REGISTER, 200), used) is used
    ok = respond(REGISTER, 200, headers=[(b"Authentication-Info", b'qop=auth, nextnonce="n2", nc=00000004')])
    found = next_nonce(ok, used)
    assert (found.challenge.nonce, found.count, found.challenge.realm) == (b"n2", 0, b"pbx")
    empty = respond(REGISTER, 200, headers=[(b"Authentication-Info", b'nextnonce=""')])
    assert next_nonce(empty, used) is used
