"""Digest: the RFCs' own examples, and what does not add up."""

from __future__ import annotations

import pytest

from sbc.sip import ParseError
from sbc.sip.digest import Challenge, Credentials, answer, can_answer, ha1, verify

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
