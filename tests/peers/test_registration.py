"""REGISTER through the SBC to Kamailio: digest end to end, our contact there, the phone's here."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.peers.ports import free_port
from tests.peers.program import until

ALICE = "alice;[authentication username=alice password=secret-alice]"


def register(sipp, border, *, row=ALICE, expires="60", contact="", **options):
    keys = {"realm": "example.test", "expires": expires, "contact": contact}
    return sipp("register", border.address, keys=keys, rows=[row], **options)


@pytest.mark.parametrize("transport", ["u1", "t1"])
def test_a_phone_registers_through_the_sbc_and_hides_behind_it(kamailio, sbc, sipp, capture, transport):
    upper = kamailio()
    border = sbc(upper)
    wire = capture([border.port, upper.port])

    run = register(sipp, border, transport=transport)
    run.finish()

    [contact] = upper.wait_registered("alice")
    assert f"@{border.address}" in contact
    assert run.host not in contact, "the phone's address must not reach the upper server"
    [row] = border.rows("select u.username, b.contact, b.source from bindings b join users u on u.id = b.user_id")
    assert row["username"] == "alice"
    assert run.address in row["contact"]
    assert "Contact: <sip:alice@" + run.address in run.messages().rpartition("SIP/2.0 200")[2]
    assert wire.check() >= 8


def test_a_wrong_password_is_refused_by_the_upper_server(kamailio, sbc, sipp):
    upper = kamailio()
    border = sbc(upper)

    run = register(sipp, border, row="alice;[authentication username=alice password=wrong]")
    status = run.program.process.wait(100)

    assert status != 0
    assert run.messages().count("SIP/2.0 401") >= 2
    assert "SIP/2.0 200" not in run.messages()
    assert not upper.contacts("alice")
    assert not border.rows("select * from bindings")


def test_expires_zero_without_push_removes_the_contact_everywhere(kamailio, sbc, sipp):
    upper = kamailio()
    border = sbc(upper)
    first = register(sipp, border)
    first.finish()
    upper.wait_registered("alice")

    register(sipp, border, expires="0", port=first.port).finish()

    until(lambda: not upper.contacts("alice"), "alice is unregistered")
    until(lambda: not border.rows("select * from bindings"), "no binding is left")


def test_many_phones_register_at_once(kamailio, sbc, sipp):
    upper = kamailio()
    border = sbc(upper)
    rows = [f"{name};[authentication username={name} password=secret-{name}]" for name in ("alice", "bob", "carol")]
    keys = {"realm": "example.test", "expires": "600", "contact": ""}

    run = sipp("register", border.address, keys=keys, rows=rows, calls=300, rate=100)
    run.finish()

    for name in ("alice", "bob", "carol"):
        assert len(upper.contacts(name)) == 1, "one contact upward for all devices of a user"


def test_our_own_challenge_is_answered_by_a_client_that_is_not_ours(kamailio, sbc, sipp, capture):
    upper = kamailio()
    border = sbc(upper, sections={"registrar": {"answer_locally": True}})
    piid = hashlib.md5(b"alice:example.test:secret-alice").hexdigest()
    keys = {"realm": "example.test", "expires": "600", "piid": piid}
    port = free_port()

    first = sipp("register-piid", border.address, port=port, keys=keys, rows=[ALICE])
    first.finish()
    [before] = border.rows("select cseq from upper_registrations")
    again = sipp("register-piid", border.address, port=port, keys=keys, rows=[ALICE])
    again.finish()

    # Nonces of ours are "time.random.seal", all three in hexadecimal digits.
    ours = re.compile(r'WWW-Authenticate: Digest realm="example.test", nonce="[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]{24}"')
    assert not ours.search(first.messages()), "the upper server asks first"
    assert ours.search(again.messages()), "then the SBC by itself"
    [after] = border.rows("select cseq from upper_registrations")
    assert after == before

    liar = sipp(
        "register-piid",
        border.address,
        keys=keys,
        rows=["alice;[authentication username=alice password=wrong]"],
    )
    assert liar.program.process.wait(100) != 0
    assert "SIP/2.0 200" not in liar.messages()
