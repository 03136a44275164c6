"""What a REGISTER asks for."""

from __future__ import annotations

import pytest

from sbc.push import dialects
from sbc.push.tokens import AppRules
from sbc.registrar.decide import (
    Wish,
    answer_contact,
    plan,
    proven,
    reachable_at,
    recognised,
    settled,
    upper_token,
)
from sbc.sip.build import respond
from sbc.sip.digest import Challenge, answer, ha1
from sbc.sip.errors import RemoteError
from sbc.sip.message import parse
from sbc.store.records import Binding, device_of

HA1 = ha1("bob", "pbx.example.com", "secret")


def register(contact="<sip:bob@192.0.2.7:5062>", *, to="<sip:bob@pbx.example.com>", via="192.0.2.7:5062", headers=()):
    lines = [
        "REGISTER sip:pbx.example.com SIP/2.0",
        f"Via: SIP/2.0/UDP {via};branch=z9hG4bK1;rport",
        f"From: {to};tag=1",
        f"To: {to}",
        "Call-ID: c1",
        "CSeq: 3 REGISTER",
        *([f"Contact: {contact}"] if contact else []),
        *headers,
        "Content-Length: 0",
        "",
        "",
    ]
    return parse("\r\n".join(lines).encode())


def planned(request, *, keep=False):
    bare = request.copy()
    handover = dialects.read(request, AppRules(), 0.0)
    dialects.strip(bare)
    return plan(request, handover, bare, keep_on_unregister=keep)


def test_a_phone_registers():
    found = planned(register(headers=["Expires: 600"]))
    assert (found.username, found.wish, found.expires) == ("bob", Wish.BIND, 600)
    assert found.identity == "c:bob@192.0.2.7:5062"
    assert found.contact == "sip:bob@192.0.2.7:5062"


def test_the_contact_says_more_than_the_header():
    assert planned(register("<sip:bob@192.0.2.7>;expires=30", headers=["Expires: 600"])).expires == 30
    assert planned(register()).expires == 3600


def test_a_device_is_known_by_its_instance_then_its_token_then_its_address():
    token = "X-MPUSH: i:com.example.phone:" + "ab" * 32
    instance = '<sip:bob@192.0.2.7>;+sip.instance="<urn:uuid:1>";reg-id=2'
    found = planned(register(instance, headers=[token]))
    assert (found.identity, found.reg_id) == ("i:<urn:uuid:1>;reg-id=2", 2), "a flow of its own"
    assert device_of(found.identity) == "i:<urn:uuid:1>", "of the same device"
    other_flow = planned(register(instance.replace("reg-id=2", "reg-id=1")))
    assert other_flow.identity == device_of(found.identity), "a second flow is no second device"
    first, second = planned(register(headers=[token])), planned(register("<sip:bob@192.0.2.99:1>", headers=[token]))
    assert first.identity == second.identity
    assert first.identity.startswith("t:apns:com.example.phone:")


def test_push_parameters_are_no_part_of_the_contact():
    found = planned(register("<sip:bob@192.0.2.7;pn-provider=apns;pn-param=T.com.example.phone.voip;pn-prid=abcd;ob>"))
    assert found.contact == "sip:bob@192.0.2.7;ob"
    assert found.handover.tokens[0].prid == "abcd"


@pytest.mark.parametrize(("keep", "wish"), [(True, Wish.SLEEP), (False, Wish.UNBIND)])
def test_an_unregister_of_a_push_device_ends_nothing_where_the_settings_say_so(keep, wish):
    assert planned(register(headers=["Expires: 0"]), keep=keep).wish is wish
    assert planned(register("*", headers=["Expires: 0"]), keep=keep).wish is wish


def test_a_null_token_really_ends_it():
    assert planned(register(headers=["Expires: 0", "X-MPUSH: null"]), keep=True).wish is Wish.UNBIND


def test_no_contact_asks_for_the_bindings():
    assert planned(register("")).wish is Wish.FETCH


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (register("*"), b"Contact * Without Expires 0"),
        (register("<mailto:bob@example.com>"), b"Contact Is No SIP URI"),
        (register(to="<sip:pbx.example.com>"), b"To Names No User"),
        (register(to="<tel:+15551234>"), b"To Names No User"),
    ],
)
def test_what_is_malformed_is_said(request_, reason):
    with pytest.raises(RemoteError) as raised:
        planned(request_)
    assert (raised.value.status, raised.value.reason) == (400, reason)


def test_the_name_upward_is_opaque_and_always_the_same():
    one = upper_token(b"k" * 32, "bob", "pbx.example.com", "pbx")
    assert one == upper_token(b"k" * 32, "bob", "pbx.example.com", "pbx")
    assert len(one) == 24
    assert "bob" not in one
    assert one != upper_token(b"k" * 32, "bob", "pbx.example.com", "spare")
    assert one != upper_token(b"j" * 32, "bob", "pbx.example.com", "pbx")


def test_a_phone_may_count_on_what_it_asked_for_where_we_refresh_ourselves():
    found = planned(register(headers=["Expires: 7200"]))
    ok = respond(register(), 200)
    assert settled(found, ok, 600, self_refreshed=True) == 7200
    assert settled(found, ok, 600, self_refreshed=False) == 600


def test_the_answer_shows_the_phone_its_own_contact():
    request = register('"Bob" <sip:bob@192.0.2.7;ob>;expires=600;+sip.instance="<urn:uuid:1>";q=0.5')
    shown = answer_contact(request, planned(request), 300)
    assert shown == b'"Bob" <sip:bob@192.0.2.7;ob>;+sip.instance="<urn:uuid:1>";q=0.5;expires=300'


def authorized(ha1_used):
    challenge = Challenge.parse(b'Digest realm="pbx.example.com", nonce="n", qop="auth"')
    value = answer(challenge, username="bob", ha1=ha1_used, method=b"REGISTER", uri=b"sip:pbx.example.com", cnonce=b"c")
    return register(headers=["Authorization: " + value.decode()])


def test_an_ha1_that_explains_the_accepted_digest_is_kept():
    proof = proven(authorized(HA1), HA1)
    assert (proof.realm, proof.username, proof.ha1, proof.mismatch) == ("pbx.example.com", "bob", HA1, False)


def test_of_several_the_one_of_the_digests_hash_is_judged():
    stronger = ha1("bob", "pbx.example.com", "secret", "SHA-256")
    assert proven(authorized(HA1), f"{HA1},{stronger}").ha1 == f"{HA1},{stronger}"
    assert proven(authorized(HA1), f"{'0' * 32},{stronger}").mismatch, "all are of one password"
    assert proven(authorized(HA1), stronger).ha1 == stronger, "nothing speaks against it"


def test_an_ha1_that_does_not_is_dropped():
    proof = proven(authorized(HA1), "0" * 32)
    assert (proof.ha1, proof.mismatch) == (None, True)


def test_without_credentials_nothing_is_proven():
    assert proven(register(), HA1).realm == ""


def test_a_phone_without_nat_is_reached_at_its_contact():
    assert reachable_at(register("<sip:bob@192.0.2.7:6000>"), ("192.0.2.7", 5062)) == ("192.0.2.7", 6000)


@pytest.mark.parametrize(
    "request_",
    [
        register("<sip:bob@10.0.0.5:5062>", via="10.0.0.5:5062"),
        register("<sip:bob@192.0.2.7:6000>", via="192.0.2.7:7000"),
        register("<sip:bob@192.0.2.7:6000;ob>"),
        register('<sip:bob@192.0.2.7:6000>;+sip.instance="<urn:uuid:1>";reg-id=1'),
    ],
)
def test_behind_nat_or_with_outbound_only_its_flow_reaches_it(request_):
    assert reachable_at(request_, ("192.0.2.7", 5062)) is None


def device(identity, *, contact="sip:bob@192.0.2.7:5062", call_id="old", instance="", push=True, agent="App/1"):
    return Binding(identity=identity, contact=contact, instance=instance, user_agent=agent, call_id=call_id, push=push)


def who(found, *devices, call_id="c1", agent="App/1"):
    return recognised(found, devices, call_id=call_id, user_agent=agent)


def test_a_device_that_says_its_token_no_more_is_recognised():
    found = planned(register())
    assert found.nameless
    assert who(found, device("t:1", contact="sip:bob@192.0.2.9:1", call_id="c1")) == "t:1", "by its Call-ID"
    assert who(found, device("t:1", call_id="other")) == "t:1", "by its Contact"
    assert who(found, device("i:1", instance="urn:1")) == found.identity, "an instance would be said again"
    assert who(found, device("t:1", contact="sip:bob@192.0.2.9:1")) == found.identity, "another phone of the user"


def test_a_null_token_is_about_the_only_push_device_of_the_app():
    found = planned(register(headers=["X-MPUSH: null"]))
    elsewhere = "sip:bob@192.0.2.9:1"
    assert who(found, device("t:1", contact=elsewhere)) == "t:1"
    assert who(found, device("t:1", contact=elsewhere, agent="Other/1")) == found.identity
    assert who(found, device("t:1", contact=elsewhere), device("t:2", contact=elsewhere)) == found.identity
