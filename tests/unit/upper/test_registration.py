"""One refresh of an upper registration, as a conversation with the upper server."""

from __future__ import annotations

import pytest

from sbc.sip.build import make_request, respond
from sbc.sip.digest import Credentials, gathered, ha1, verify
from sbc.upper.registration import (
    MAX_BACKOFF,
    Account,
    Refresh,
    Register,
    Standing,
    backoff,
    granted_expires,
    refresh_at,
)

HA1 = ha1("alice", "pbx.example.com", "secret")
CONTACT = "sip:opaque@192.0.2.1:5060"
NOW = 1_800_000_000.0
CNONCE = b"c0"


def account(**changes):
    given = {
        "username": "alice",
        "auth_username": "alice",
        "domain": "pbx.example.com",
        "realm": "pbx.example.com",
        "ha1": HA1,
        "user_agent": "App/1",
        "contact": CONTACT,
    }
    return Account(**{**given, **changes})


def refresh(*, expires=3600, failures=0, uniform=0.5, nonce=None, **changes):
    return Refresh(account(**changes), expires=expires, cseq=7, failures=failures, uniform=lambda: uniform, nonce=nonce)


def answer(status, *headers, reason=None):
    request = make_request(
        b"REGISTER", b"sip:pbx.example.com", via=b"SIP/2.0/UDP h;branch=z9hG4bK1", from_=b"<sip:alice@h>;tag=1",
        to=b"<sip:alice@h>", call_id=b"c", cseq=8,
    )  # fmt: skip
    return respond(request, status, reason, headers=headers)


def challenge(nonce=b"n1", realm=b"pbx.example.com", extra=b"", status=401):
    name = b"WWW-Authenticate" if status == 401 else b"Proxy-Authenticate"
    return answer(status, (name, b'Digest realm="%s", nonce="%s", qop="auth"%s' % (realm, nonce, extra)))


def test_the_server_grants_at_once():
    machine = refresh()
    assert machine.start(CNONCE) == Register(3600, 8, None)
    standing = machine.answered(answer(200, (b"Contact", b"<%s>;expires=600" % CONTACT.encode())), b"x", NOW)
    assert (standing.state, standing.expires_at, standing.failures, standing.cseq) == ("registered", NOW + 600, 0, 8)
    assert NOW + 600 * 0.7 < standing.next_at < NOW + 600


@pytest.mark.parametrize(("status", "header"), [(401, b"authorization"), (407, b"proxy-authorization")])
def test_a_challenge_is_answered_from_the_ha1(status, header):
    machine = refresh()
    machine.start(CNONCE)
    again = machine.answered(challenge(status=status), b"abc", NOW)
    assert isinstance(again, Register)
    assert again.cseq == 9
    name, value = again.credentials
    assert name == header
    credentials = Credentials.parse(value)
    assert credentials.uri == b"sip:pbx.example.com"
    assert verify(credentials, HA1, b"REGISTER")


def test_a_stale_nonce_gets_one_more_try():
    machine = refresh()
    machine.start(CNONCE)
    machine.answered(challenge(b"old"), b"abc", NOW)
    again = machine.answered(challenge(b"new", extra=b", stale=true"), b"abc", NOW)
    assert isinstance(again, Register)
    standing = machine.answered(challenge(b"newer", extra=b", stale=true"), b"abc", NOW)
    assert (standing.state, standing.code) == ("failing", 401), "the server is at fault, not the password"
    assert standing.next_at > NOW


def test_a_second_challenge_that_is_not_stale_means_that_the_password_changed():
    machine = refresh()
    machine.start(CNONCE)
    machine.answered(challenge(), b"abc", NOW)
    standing = machine.answered(challenge(b"n2"), b"abc", NOW)
    assert standing.state == "rejected"
    assert standing.next_at is None


def test_the_ha1_answers_no_other_realm():
    machine = refresh()
    machine.start(CNONCE)
    assert machine.answered(challenge(realm=b"evil.example.net"), b"abc", NOW).state == "needs_wake"


def test_without_an_ha1_the_phone_must_wake():
    machine = refresh(ha1="")
    machine.start(CNONCE)
    assert machine.answered(challenge(), b"abc", NOW).state == "needs_wake"


def test_an_md5_ha1_cannot_answer_sha256():
    machine = refresh()
    machine.start(CNONCE)
    assert machine.answered(challenge(extra=b", algorithm=SHA-256"), b"abc", NOW).state == "needs_wake"


def test_of_several_challenges_the_one_that_can_be_answered_is():
    machine = refresh()
    machine.start(CNONCE)
    both = answer(
        401,
        (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="s", algorithm=SHA-256, qop="auth"'),
        (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="m", algorithm=MD5, qop="auth"'),
    )
    again = machine.answered(both, b"abc", NOW)
    assert b'nonce="m"' in again.credentials[1]


@pytest.mark.parametrize("order", [("SHA-512-256", "SHA-256", "MD5"), ("MD5", "SHA-256"), ("SHA-1", "SHA-256", "MD5")])
def test_of_several_challenges_the_topmost_that_an_ha1_answers_is(order):
    """RFC 8760 section 2.4: the server knows what it likes best."""
    known = {"SHA-256": ha1("alice", "pbx.example.com", "secret", "SHA-256"), "MD5": HA1}
    machine = refresh(ha1=gathered(",".join(known.values())))
    machine.start(CNONCE)
    lines = [
        (b"WWW-Authenticate", f'Digest realm="pbx.example.com", nonce="n", algorithm={name}, qop="auth"'.encode())
        for name in order
    ]
    step = machine.answered(answer(401, *lines), CNONCE, NOW)
    given = Credentials.parse(step.credentials[1])
    best = next(name for name in order if name in known)
    assert given.algorithm == best
    assert verify(given, known[best], b"REGISTER")


def test_an_interval_too_brief_is_raised_once():
    machine = refresh(expires=60)
    machine.start(CNONCE)
    assert machine.answered(answer(423, (b"Min-Expires", b"1800")), b"x", NOW) == Register(1800, 9, None)
    assert machine.answered(answer(423, (b"Min-Expires", b"3600")), b"x", NOW).state == "failing"


@pytest.mark.parametrize("status", [403, 404, 604])
def test_a_refusal_ends_it(status):
    machine = refresh()
    machine.start(CNONCE)
    standing = machine.answered(answer(status), b"x", NOW)
    assert (standing.state, standing.code, standing.next_at) == ("rejected", status, None)


def test_trouble_at_the_server_is_waited_out():
    machine = refresh(failures=2)
    machine.start(CNONCE)
    standing = machine.answered(answer(503, (b"Retry-After", b"120 (soon)")), b"x", NOW)
    assert standing == Standing("failing", 503, "Service Unavailable", None, NOW + 120, 3, 8)
    assert refresh().unanswered("no answer", NOW).next_at > NOW


def test_a_grant_of_nothing_is_no_registration():
    machine = refresh()
    machine.start(CNONCE)
    standing = machine.answered(answer(200, (b"Contact", b"<%s>;expires=0" % CONTACT.encode())), b"abc", NOW)
    assert (standing.state, standing.next_at > NOW + 1) == ("failing", True), "and is not asked for at once"


def test_unregistering():
    machine = refresh(expires=0)
    assert machine.start(CNONCE).expires == 0
    assert machine.answered(answer(200), b"x", NOW).state == "ended"


def test_backing_off_doubles_to_a_ceiling_and_never_in_step():
    delays = [backoff(failures, 0.0) for failures in range(12)]
    assert delays == sorted(delays)
    assert delays[1] == 2 * delays[0]
    assert backoff(50, 1.0) <= MAX_BACKOFF
    assert backoff(3, 0.1) != backoff(3, 0.9)


@pytest.mark.parametrize("granted", [1, 5, 10, 60, 3600, 86400])
@pytest.mark.parametrize("uniform", [0.0, 0.999])
def test_a_refresh_comes_before_the_end_and_not_at_once(granted, uniform):
    at = refresh_at(granted, NOW, uniform)
    assert NOW < at < NOW + granted
    if granted >= 60:
        assert at > NOW + granted * 0.7


def test_what_a_2xx_grants():
    other = (b"Contact", b"<sip:other@192.0.2.9>;expires=10, <%s>;expires=99" % CONTACT.encode())
    assert granted_expires(answer(200, other), CONTACT, 3600) == 99
    assert granted_expires(answer(200, (b"Expires", b"77")), CONTACT, 3600) == 77
    assert granted_expires(answer(200), CONTACT, 3600) == 3600
    assert granted_expires(answer(200, (b"Contact", b"<<broken")), CONTACT, 3600) == 3600


def test_after_an_interval_too_brief_comes_a_new_challenge():
    machine = refresh(expires=60)
    machine.start(CNONCE)
    machine.answered(challenge(), b"abc", NOW)
    assert machine.answered(answer(423, (b"Min-Expires", b"1800")), b"x", NOW) == Register(1800, 10, None)
    assert machine.answered(challenge(b"n2"), b"abc", NOW).credentials is not None
    assert machine.answered(challenge(b"n3"), b"abc", NOW).state == "rejected"


def test_the_next_refresh_answers_before_it_is_asked():
    first = refresh()
    first.start(CNONCE)
    first.answered(challenge(), b"c1", NOW)
    first.answered(answer(200), b"c2", NOW)
    assert (first.nonce.challenge.nonce, first.nonce.count) == (b"n1", 1)

    second = refresh(nonce=first.nonce)
    register = second.start(b"c3")
    credentials = Credentials.parse(register.credentials[1])
    assert (credentials.nonce, credentials.nc, credentials.cnonce) == (b"n1", b"00000002", b"c3")
    assert verify(credentials, HA1, b"REGISTER")
    second.answered(answer(200, (b"Authentication-Info", b'nextnonce="n9"')), b"c4", NOW)
    assert (second.nonce.challenge.nonce, second.nonce.count) == (b"n9", 0)


def test_a_kept_nonce_that_is_too_old():
    first = refresh()
    first.start(CNONCE)
    first.answered(challenge(), b"c1", NOW)
    second = refresh(nonce=first.nonce)
    second.start(CNONCE)
    register = second.answered(challenge(b"n2", extra=b", stale=true"), b"c2", NOW)
    credentials = Credentials.parse(register.credentials[1])
    assert (credentials.nonce, credentials.nc) == (b"n2", b"00000001")
    assert second.answered(answer(200), b"c3", NOW).state == "registered"


def test_a_kept_nonce_of_another_realm_or_without_an_ha1_is_not_used():
    first = refresh()
    first.start(CNONCE)
    first.answered(challenge(), b"c1", NOW)
    assert refresh(nonce=first.nonce, realm="other").start(CNONCE).credentials is None
    assert refresh(nonce=first.nonce, ha1="").start(CNONCE).credentials is None


def test_a_long_grant_is_verified_now_and_then():
    assert refresh_at(86_400, NOW, 1.0, 3600.0) == NOW + 3600
    assert refresh_at(86_400, NOW, 0.0, 3600.0) == NOW + 2700, "and not for all at the same time"
    assert refresh_at(600, NOW, 0.0, 3600.0) == NOW + 510


def test_a_server_that_has_no_say_is_tried_again():
    machine = refresh(failures=3)
    machine.start(CNONCE)
    verdict = machine.answered(answer(404), b"c", NOW)
    assert verdict.state == "rejected"
    later = machine.unfit(verdict, NOW)
    assert (later.state, later.code, later.failures) == ("failing", 404, 4)
    assert later.next_at > NOW
