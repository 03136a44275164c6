"""The upper server's registrar, told REGISTERs with the time."""

from sbc.lab.identity import Identity
from sbc.lab.location import Location, RegistrarRules
from sbc.sip import Request, Response
from sbc.sip.build import make_request, respond


def registrar(**rules) -> Location:
    return Location(RegistrarRules(realm="pbx.example.com", users={"bob": "secret", "eve": "evil"}, **rules))


def register(
    contact: bytes = b"<sip:bob@10.0.0.1>", *, user: bytes = b"bob", cseq: int = 1, expires: int = 600, **more
):
    headers = [(b"contact", contact), (b"expires", b"%d" % expires)]
    headers += [(name.encode(), value) for name, value in more.items()]
    return make_request(
        b"REGISTER",
        b"sip:pbx.example.com",
        via=b"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1",
        from_=b"<sip:bob@pbx.example.com>;tag=1",
        to=b"<sip:bob@pbx.example.com>",
        call_id=b"one",
        cseq=cseq,
        headers=headers,
    )


def challenged(where: Location, request: Request, now: float) -> Response:
    verdict = where.register(request, now)
    assert verdict.status == 401
    return respond(request, 401, headers=verdict.headers)


def proved(where: Location, who: Identity, request: Request, now: float = 0.0) -> Request:
    assert who.prove(request, challenged(where, request, now))
    return request


def test_a_proved_registration_is_found_until_it_expires() -> None:
    where, bob = registrar(), Identity("bob", "secret")
    verdict = where.register(proved(where, bob, register()), 0.0)
    assert (verdict.status, verdict.headers[0]) == (200, (b"contact", b"<sip:bob@10.0.0.1>;expires=600"))
    assert [contact.uri for contact in where.contacts("bob", 599.0)] == [b"sip:bob@10.0.0.1"]
    assert where.contacts("bob", 600.0) == []


def test_who_does_not_know_the_password_or_is_somebody_else() -> None:
    where = registrar()
    assert where.register(proved(where, Identity("bob", "guess"), register()), 0.0).status == 403
    assert where.register(proved(where, Identity("nobody", "x"), register()), 0.0).status == 403
    assert where.register(proved(where, Identity("eve", "evil"), register()), 0.0).status == 403
    assert where.contacts("bob", 1.0) == []


def test_nonces_get_stale_by_age_by_use_and_by_a_count_that_does_not_rise() -> None:
    where, bob = registrar(nonce_life=100.0, nonce_uses=2), Identity("bob", "secret")
    request = register()
    challenge = challenged(where, request, 0.0)
    for cseq, now, status in ((1, 1.0, 200), (2, 2.0, 200), (3, 3.0, 401)):
        again = register(cseq=cseq)
        bob.prove(again, challenge)
        verdict = where.register(again, now)
        assert verdict.status == status
    assert b"stale=true" in verdict.headers[0][1]
    challenge = challenged(where, register(), 10.0)
    late = register(cseq=9)
    bob.prove(late, challenge)
    assert where.register(late, 111.0).status == 401
    assert where.register(late, 11.0).status == 200
    assert where.register(late, 12.0).status == 401  # the same nc


def test_sha256_and_qop_free_challenges() -> None:
    for rules in ({"algorithm": "SHA-256"}, {"qop": ()}, {"algorithm": "MD5-sess"}, {"qop": ("auth-int",)}):
        where = registrar(**rules)
        assert where.register(proved(where, Identity("bob", "secret"), register()), 0.0).status == 200, rules


def test_too_short_too_long_and_none() -> None:
    where = registrar(challenge=False, expires=3600, min_expires=60)
    verdict = where.register(register(expires=30), 0.0)
    assert (verdict.status, verdict.headers) == (423, ((b"min-expires", b"60"),))
    verdict = where.register(register(expires=9999), 0.0)
    assert verdict.headers[0][1].endswith(b";expires=3600")
    assert where.register(register(cseq=2, expires=0), 1.0).headers == ()
    where.register(register(cseq=3), 2.0)
    assert where.register(register(b"*", cseq=4), 3.0).status == 400
    assert where.register(register(b"*", cseq=5, expires=0), 3.0).status == 200
    assert where.contacts("bob", 3.0) == []


def test_old_requests_paths_and_the_next_nonce() -> None:
    where = registrar(challenge=False)
    assert where.register(register(cseq=5, path=b"<sip:edge;lr>"), 0.0).headers[1] == (b"path", b"<sip:edge;lr>")
    assert where.contacts("bob", 1.0)[0].path == [b"<sip:edge;lr>"]
    assert where.register(register(cseq=5), 1.0).status == 500
    where = registrar(next_nonce=True)
    verdict = where.register(proved(where, Identity("bob", "secret"), register()), 0.0)
    assert verdict.headers[-1][0] == b"authentication-info"
