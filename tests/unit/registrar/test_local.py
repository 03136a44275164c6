"""A phone that registers again and again, and who answers it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5, new

import pytest

from sbc.push.dialects import Handover
from sbc.registrar import local
from sbc.registrar.decide import plan
from sbc.registrar.local import NONCE_LIFE, Door, Said, Spared, proof, spared
from sbc.sip.build import make_request, respond
from sbc.sip.digest import Challenge, Credentials, answer, gathered, ha1, verify
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
    challenge = Challenge.parse(door.challenge(BOB, now_at, b"r1")[0])
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
    nonce = Challenge.parse(door.challenge(BOB, NOW, b"r1")[0]).nonce
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


def proof_by_hand(hashed, user, nonce, *, qop, nc=b"00000001", realm=b"pbx.example.com", uri=b"sip:pbx.example.com",
                  algorithm="", password=b"secret", body=b""):  # fmt: skip
    """An Authorization worked out with nothing but hashlib, as RFC 7616 section 3.4 writes it."""

    def h(*parts):
        return new(hashed, b":".join(parts)).hexdigest().encode()

    a1 = h(user, realm, password)
    if algorithm.endswith("-sess"):
        a1 = h(a1, nonce, b"x")
    a2 = h(b"REGISTER", uri, new(hashed, body).hexdigest().encode()) if qop == b"auth-int" else h(b"REGISTER", uri)
    return (
        b'Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", '
        b'algorithm=%s, cnonce="x", qop=%s, nc=%s'
        % (user, realm, nonce, uri, h(a1, nonce, nc, b"x", qop, a2), algorithm.encode(), qop, nc)
    )


@pytest.mark.parametrize("qop", [b"auth", b"auth-int"])
@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256"])
def test_every_hash_that_an_ha1_is_known_of(algorithm, qop):
    name = algorithm.removesuffix("-sess")
    hashed = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[name]
    known = ha1("bob", "pbx.example.com", "secret", name)
    user = replace(BOB, ha1=f"{name}:{known}" if name == "SHA-512-256" else known)
    door = Door(b"k" * 32)
    asked = Challenge.parse(door.challenge(user, NOW, b"r1")[0])
    assert (asked.algorithm, asked.realm, asked.qop, asked.stale) == (name, b"pbx.example.com", ("auth",), False)

    def said(**changes):
        given = {"algorithm": algorithm, "qop": qop, **changes}
        return door.ask(register((b"Authorization", proof_by_hand(hashed, b"bob", asked.nonce, **given))), user, NOW)

    assert said() is Said.PROVED
    assert said() is Said.STALE, "a replay"
    assert said(nc=b"00000005") is Said.PROVED
    assert said(nc=b"00000004") is Said.STALE, "the count went back"
    assert said(nc=b"00000006", password=b"guess") is Said.WRONG
    assert said(nc=b"00000006", realm=b"other.example.com") is Said.WRONG
    assert said(nc=b"00000006", uri=b"sip:other.example.com") is Said.WRONG
    assert said(nc=b"00000006", uri=b"sip:192.0.2.1:5060") is Said.WRONG
    assert said(nc=b"00000006", uri=b"nonsense") is Said.WRONG
    proof = proof_by_hand(
        hashed, b"bob", asked.nonce, algorithm=algorithm, qop=qop, nc=b"00000006", uri=b"sip:192.0.2.1:5060"
    )
    ours = frozenset((b"192.0.2.1",))
    assert door.ask(register((b"Authorization", proof)), user, NOW, ours) is Said.PROVED, "the address it sends to"
    assert said(nc=b"00000007", body=b"another body") is (Said.WRONG if qop == b"auth-int" else Said.PROVED)


def test_the_hash_of_the_challenge_is_the_one_to_use():
    """An HA1 of SHA-256 must not be spent on MD5, whoever suggests it (RFC 8760 section 2.6)."""
    strong = replace(BOB, ha1=ha1("bob", "pbx.example.com", "secret", "SHA-256"))
    door = Door(b"k" * 32)
    nonce = Challenge.parse(door.challenge(strong, NOW, b"r1")[0]).nonce
    weak = proof_by_hand("md5", b"bob", nonce, qop=b"auth", algorithm="MD5")
    assert door.ask(register((b"Authorization", weak)), strong, NOW) is Said.WRONG
    unknown = proof_by_hand("sha1", b"bob", nonce, qop=b"auth", algorithm="SHA-1")
    assert door.ask(register((b"Authorization", unknown)), strong, NOW) is Said.WRONG


def test_of_several_hashes_each_is_asked_for_and_each_proves():
    names = ("SHA-512-256", "SHA-256", "MD5")
    known = gathered(",".join(f"{name}:{ha1('bob', 'pbx.example.com', 'secret', name)}" for name in names))
    user = replace(BOB, ha1=known)
    door = Door(b"k" * 32)
    asked = [Challenge.parse(value) for value in door.challenge(user, NOW, b"r1")]
    assert [each.algorithm for each in asked] == list(names), "the one to be used by whoever can is the topmost"
    [nonce] = {each.nonce for each in asked}
    for count, hashed in enumerate(("sha512_256", "sha256", "md5"), 1):
        given = {"qop": b"auth", "nc": b"%08x" % count, "algorithm": names[count - 1]}
        wrong = proof_by_hand(hashed, b"bob", nonce, password=b"guess", **given)
        assert door.ask(register((b"Authorization", wrong)), user, NOW) is Said.WRONG
        right = register((b"Authorization", proof_by_hand(hashed, b"bob", nonce, **given)))
        assert door.ask(right, user, NOW) is Said.PROVED
        assert door.ask(right, user, NOW) is Said.STALE, "one nonce, one count"
    other = proof_by_hand("sha1", b"bob", nonce, qop=b"auth", nc=b"00000009", algorithm="SHA-1")
    assert door.ask(register((b"Authorization", other)), user, NOW) is Said.WRONG


def test_a_hashed_user_name_was_not_offered():
    door = Door(b"k" * 32)
    nonce = Challenge.parse(door.challenge(BOB, NOW, b"r1")[0]).nonce
    assert b"userhash" not in door.challenge(BOB, NOW, b"r1")[0]
    hidden = proof_by_hand("md5", md5(b"bob:pbx.example.com").hexdigest().encode(), nonce, qop=b"auth", algorithm="MD5")
    assert door.ask(register((b"Authorization", hidden + b", userhash=true")), BOB, NOW) is Said.WRONG


def test_stale_is_said_where_the_password_may_still_be_right():
    assert Challenge.parse(Door(b"k" * 32).challenge(BOB, NOW, b"r1", stale=True)[0]).stale


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
    assert judged() == Spared(600, ROW)
    assert judged(expires=86_400) == Spared(86_400, ROW), "we refresh it"
    assert judged(rows=(replace(ROW, next_at=None),), expires=86_400).seconds == 3000, "nobody does"
    assert judged(ha1=HA1) == Spared(600, ROW)
    assert judged(user=replace(BOB, ha1=f"{HA1},{'0' * 64}"), ha1=HA1) == Spared(600, ROW), (
        "one of those that are known"
    )


@pytest.mark.parametrize(
    "news",
    [
        {"agent": "App/2"},
        {"ha1": "0" * 32},
        {"ha1": f"{HA1},{'0' * 64}"},
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


def test_the_strongest_challenge_that_the_ha1_fits_is_answered():
    """The upper server writes the one it likes best first (RFC 8760 section 2.4)."""
    lines = [
        (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="n5", qop="auth", algorithm=SHA-512-256'),
        (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="n2", qop="auth", algorithm=SHA-256'),
        (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="n1", qop="auth"'),
    ]
    asked = respond(register(), 401, headers=lines)
    for algorithm, nonce in (("SHA-512-256", b"n5"), ("SHA-256", b"n2"), ("MD5", b"n1")):
        known = f"{algorithm}:{ha1('bob', 'pbx.example.com', 'secret', algorithm)}"
        _, value = proof(asked, register(), ha1=known, username="bob", cnonce=b"c", realm="")
        given = Credentials.parse(value)
        assert (given.nonce, given.algorithm) == (nonce, algorithm)
        assert verify(given, known, b"REGISTER")
    both = gathered(f"{ha1('bob', 'pbx.example.com', 'secret', 'SHA-256')},{HA1}")
    _, value = proof(asked, register(), ha1=both, username="bob", cnonce=b"c", realm="")
    assert Credentials.parse(value).algorithm == "SHA-256", "the topmost of those that one of them answers"


def test_a_challenge_answered_in_the_phones_place():
    challenge = (b"WWW-Authenticate", b'Digest realm="pbx.example.com", nonce="n", qop="auth"')
    asked = respond(register(), 401, headers=[challenge])
    given = {"ha1": HA1, "username": "bob", "cnonce": b"c"}
    name, value = proof(asked, register(), realm="pbx.example.com", **given)
    assert name == b"authorization"
    assert verify(Credentials.parse(value), HA1, b"REGISTER")
    assert proof(asked, register(), realm="", **given) is not None, "nobody knows the realm yet"
    assert proof(asked, register(), realm="other", **given) is None, "an HA1 is for its own realm"
