"""Digest: the RFCs' own examples, and what does not add up."""

from __future__ import annotations

import pytest

from sbc.sip import ParseError
from sbc.sip.digest import (
    Challenge,
    Credentials,
    agree,
    answer,
    can_answer,
    fitting,
    gathered,
    ha1,
    ha1_by,
    hashes_of,
    verify,
)

RFC2617 = (
    b'Digest realm="testrealm@host.com", qop="auth,auth-int", '
    b'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)
MUFASA = ha1("Mufasa", "testrealm@host.com", "Circle Of Life")


def test_the_example_of_rfc_2617() -> None:
    challenge = Challenge.parse(RFC2617)
    assert (challenge.realm, challenge.qop, challenge.stale) == (b"testrealm@host.com", ("auth", "auth-int"), False)
    value = answer(
        challenge, username="Mufasa", ha1=MUFASA, method=b"GET", uri=b"/dir/index.html", nc=1, cnonce="0a4f113b"
    )
    credentials = Credentials.parse(value)
    assert credentials.response == b"6629fae49393a05397450978507c4ef1"
    assert (credentials.nc, credentials.qop, credentials.cnonce) == (b"00000001", b"auth", b"0a4f113b")
    assert credentials.opaque == b"5ccc069c403ebaf9f0171e9517f40e41"
    assert verify(credentials, MUFASA, b"GET")


def test_the_sha_256_example_of_rfc_7616() -> None:
    challenge = Challenge.parse(
        b'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
        b'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    secret = ha1("Mufasa", "http-auth@example.org", "Circle of Life", "SHA-256")
    assert can_answer(challenge, "SHA-256")
    assert not can_answer(challenge)
    value = answer(
        challenge,
        username=b"Mufasa",
        ha1=secret,
        method=b"GET",
        uri=b"/dir/index.html",
        cnonce=b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    credentials = Credentials.parse(value)
    assert credentials.response == b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    assert verify(credentials, secret, b"GET")


@pytest.mark.parametrize("algorithm", [b"MD5", b"md5", b"MD5-sess", b"SHA-256", b"SHA-256-sess", b"SHA-512-256"])
@pytest.mark.parametrize("qop", [b"", b', qop="auth"', b', qop="auth-int"', b', qop="x,auth"'])
def test_what_we_answer_we_also_accept(algorithm: bytes, qop: bytes) -> None:
    challenge = Challenge.parse(b'Digest realm="r", nonce="n", algorithm=%b%b' % (algorithm, qop))
    hashed = challenge.algorithm.removesuffix("-sess")
    if not can_answer(challenge, hashed):
        pytest.skip("this OpenSSL has no such hash")
    secret = ha1("ann", "r", "pw", hashed)
    value = answer(challenge, username="ann", ha1=secret, method=b"REGISTER", uri=b"sip:r", body=b"b", cnonce="c", nc=3)
    credentials = Credentials.parse(value)
    assert verify(credentials, secret, b"REGISTER", b"b")
    assert not verify(credentials, secret, b"INVITE", b"b")
    assert not verify(credentials, ha1("ann", "r", "other", hashed), b"REGISTER", b"b")
    assert verify(credentials, secret, b"REGISTER", b"tampered") == (b"auth-int" not in qop)


def test_names_with_quotes_survive() -> None:
    name = 'a"b\\c'
    challenge = Challenge(realm=b'r"1', nonce=b"n", qop=("auth",))
    credentials = Credentials.parse(
        answer(challenge, username=name, ha1=ha1(name, b'r"1', "p"), method=b"A", uri=b"sip:a", cnonce="c")
    )
    assert (credentials.username, credentials.realm) == (name.encode(), b'r"1')
    assert verify(credentials, ha1(name, b'r"1', "p"), b"A")


def test_our_challenges_are_understood() -> None:
    challenge = Challenge(realm=b"r", nonce=b"n", opaque=b"o", algorithm="SHA-256", qop=("auth",), stale=True)
    assert Challenge.parse(challenge.render()) == challenge


def test_unknown_algorithms_and_qops_cannot_be_answered() -> None:
    assert not can_answer(Challenge(realm=b"r", nonce=b"n", algorithm="AKAv1-MD5"))
    assert not can_answer(Challenge(realm=b"r", nonce=b"n", qop=("new",)))
    assert can_answer(Challenge(realm=b"r", nonce=b"n"))


@pytest.mark.parametrize(
    "changed",
    [
        b"algorithm=MD5, algorithm=SHA-256",
        b"qop=auth, qop=auth-int",
    ],
)
def test_fields_given_twice_are_refused(changed: bytes) -> None:
    with pytest.raises(ParseError):
        Credentials.parse(b'Digest username="a", realm="r", nonce="n", uri="u", response="x", ' + changed)


@pytest.mark.parametrize(
    "value",
    [b"", b"Basic abc", b"Digest", b"Digest realm", b'Digest realm="r"', b'Digest nonce="n"', b"NoOneKnows a=b"],
)
def test_what_is_no_digest(value: bytes) -> None:
    with pytest.raises(ParseError):
        Challenge.parse(value)
    with pytest.raises(ParseError):
        Credentials.parse(value)


@pytest.mark.parametrize(
    "field", [b"nc=1", b"nc=0000000g", b'cnonce=""', b"qop=new", b"algorithm=ROT13", b"response=\xc3\xa4"]
)
def test_proofs_with_bad_fields_prove_nothing(field: bytes) -> None:
    fields = {
        b"username": b"a",
        b"realm": b"r",
        b"nonce": b"n",
        b"uri": b"u",
        b"response": b"x" * 32,
        b"nc": b"00000001",
        b"cnonce": b"c",
        b"qop": b"auth",
    }
    name, _, text = field.partition(b"=")
    fields[name] = text.strip(b'"')
    value = b"Digest " + b", ".join(b'%b="%b"' % item for item in fields.items())
    assert not verify(Credentials.parse(value), "0" * 32, b"REGISTER")


MD5, SHA256, SHA512 = (ha1("bob", "r", "p", name) for name in ("MD5", "SHA-256", "SHA-512-256"))


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (MD5.upper(), MD5),
        (f" md5:{MD5} ", MD5),
        (SHA256, SHA256),
        (f"SHA-512-256:{SHA512}, SHA-256:{SHA256},{MD5}", f"{MD5},{SHA256},SHA-512-256:{SHA512}"),
    ],
)
def test_ha1s_of_one_password_are_one_text(told: str, kept: str) -> None:
    assert gathered(told) == kept
    assert gathered(kept) == kept


@pytest.mark.parametrize(
    "told", ["", ",", MD5[:-1], f"{MD5},", f"{MD5},md5:{MD5}", f"SHA-1:{MD5}", f"MD5:{SHA256}", "x" * 32]
)
def test_what_is_no_list_of_ha1s(told: str) -> None:
    with pytest.raises(ValueError, match=r"HA1|twice"):
        gathered(told)


def test_each_challenge_is_answered_by_the_ha1_of_its_hash() -> None:
    known = gathered(f"{MD5},{SHA256},SHA-512-256:{SHA512}")
    assert hashes_of(known) == ("SHA-512-256", "SHA-256", "MD5"), "in the order in which they are asked for"
    assert (hashes_of(MD5), hashes_of("")) == (("MD5",), ())
    assert ha1_by("SHA-256-sess", known) == SHA256
    assert ha1_by("SHA-1", known) is None
    assert ha1_by("MD5", "") is None
    for algorithm, mine in (("MD5", MD5), ("SHA-256", SHA256), ("SHA-512-256-sess", f"SHA-512-256:{SHA512}")):
        assert fitting(Challenge(realm=b"r", nonce=b"n", algorithm=algorithm), known) == mine
    assert fitting(Challenge(realm=b"r", nonce=b"n", algorithm="SHA-1"), known) is None
    assert fitting(Challenge(realm=b"r", nonce=b"n", qop=("other",)), known) is None


def test_what_is_said_agrees_with_what_is_known() -> None:
    known = gathered(f"{MD5},{SHA256}")
    assert agree(MD5, known)
    assert agree(f"SHA-256:{SHA256}", known)
    assert agree(known, known)
    assert not agree(f"{MD5},SHA-512-256:{SHA512}", known), "one is news"
    assert not agree("0" * 32, known)
    assert not agree(MD5, "")
