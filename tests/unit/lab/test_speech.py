"""What the laboratory's phones say about push is what the product reads: written by different hands."""

import pytest

from sbc.lab.speech import DIALECTS, DeviceToken, say
from sbc.push import dialects
from sbc.push.tokens import AppRules
from sbc.sip import Request
from sbc.sip.build import make_request
from sbc.sip.scan import render_params

APPLE = DeviceToken(provider="apns", app="com.example.phone", prid="ab" * 32, team="DEF123GHIJ")
GOOGLE = DeviceToken(provider="fcm", app="com.example.phone", prid="dGVzd:APA91b_x-y")


def register(dialect: str, token: DeviceToken, *, unbind: bool = False) -> Request:
    said = say(dialect, token, unbind=unbind)
    contact = b"<sip:bob@10.0.0.1%b>%b" % (render_params(dict(said.uri)), render_params(dict(said.contact)))
    return make_request(
        b"REGISTER",
        b"sip:pbx",
        via=b"SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1",
        from_=b"<sip:bob@pbx>;tag=1",
        to=b"<sip:bob@pbx>",
        call_id=b"1",
        cseq=1,
        headers=[(b"contact", contact), *said.headers],
    )


@pytest.mark.parametrize("dialect", DIALECTS[1:])
@pytest.mark.parametrize("token", [APPLE, GOOGLE], ids=["apns", "fcm"])
def test_a_token_survives_every_dialect(dialect: str, token: DeviceToken) -> None:
    request = register(dialect, token)
    (found,) = dialects.read(request, AppRules()).tokens
    assert (found.provider, found.param, found.prid) == (token.provider, token.app, token.prid)
    dialects.strip(request)
    assert token.prid.encode() not in request.render()


@pytest.mark.parametrize("dialect", DIALECTS[1:])
def test_null_unbinds_in_every_dialect(dialect: str) -> None:
    handover = dialects.read(register(dialect, APPLE, unbind=True), AppRules())
    assert handover.unbind and not handover.tokens


def test_two_apple_tokens_and_environments() -> None:
    both = DeviceToken(provider="apns", app="com.example.phone", prid="ab" * 32, remote="cd" * 32, team="DEF123GHIJ")
    found = dialects.read(register("rfc8599", both), AppRules()).tokens
    assert {(token.kind, token.prid[:2]) for token in found} == {("voip", "ab"), ("remote", "cd")}
    sandbox = DeviceToken(provider="apns", app="com.example.phone", prid="ab" * 32, environment="sandbox")
    (token,) = dialects.read(register("x-mpush", sandbox), AppRules()).tokens
    assert token.environment == "sandbox"


def test_nothing_to_say_and_no_such_dialect() -> None:
    assert say("none", APPLE) == say("rfc8599", None)
    with pytest.raises(ValueError, match="no dialect"):
        say("klingon", APPLE)
