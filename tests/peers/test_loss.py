"""SIP over a bad network: datagrams are lost, doubled and reordered, and every registration and call ends well."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from tests.peers.conftest import USERS
from tests.peers.lossy import Weather
from tests.peers.ports import free_port
from tests.peers.program import until
from tests.peers.sbc_process import settle

RAIN = Weather(lost=0.01, doubled=0.02, late=0.05)
STORM = Weather(lost=0.10, doubled=0.05, late=0.10)
CLEAR = Weather()
REGISTERS, CALLS = 200, 100
NEAR, FAR = "127.0.0.6", "127.0.0.7"  # where the relays stand: before the upper server, before the phones


@pytest.fixture
def world(kamailio, sbc, lossy):
    """``world(phones' weather, upper side's weather)``: (upper, sbc, HOST:PORT where phones find the SBC).

    Three relays: phones to SBC, SBC to upper server, upper server to SBC. Everybody is told the relay's address.
    """

    def make(phones, beyond, more=None):
        client, inner, outer, front, back = (free_port() for _ in range(5))
        upper = kamailio(open_registrar=True, advertise=f"{NEAR}:{outer}", patience=30)
        lossy(f"{upper.host}:{upper.port}", beyond, host=NEAR, port=outer, seed=1)
        lossy(f"127.0.0.1:{inner}", beyond, host=NEAR, port=back, seed=2)
        before = lossy(f"127.0.0.1:{client}", phones, host=FAR, port=front, seed=3)
        listen = [
            {"uri": f"udp:127.0.0.1:{client}", "advertise": before.address, "side": "client"},
            {"uri": f"udp:127.0.0.1:{inner}", "advertise": f"{NEAR}:{back}", "side": "upper"},
        ]
        server = {"name": "pbx", "uri": f"sip:{NEAR}:{outer};transport=udp", "domain": upper.realm}
        sections = {"media": {"relay": "never"}, "routing": {"local_calls": "off"}, **(more or {})}
        border = sbc([server], port=client, listen=listen, sections=sections)
        return upper, border, before.address

    return make


def messages(run):
    """Every message of a SIPp trace: (sent by it, text)."""
    for part in re.split(r"-{10,} [^\n]*\n", run.messages())[1:]:
        head, _, text = part.partition("\n\n")
        yield "sent" in head.split("\n")[0], text


def value(name, text):
    found = re.search(rf"^{name}: ([^\r\n]*)", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize(
    ("phones", "beyond"),
    [(RAIN, RAIN), (STORM, CLEAR), (CLEAR, STORM)],
    ids=["one in a hundred everywhere", "one in ten before phones", "one in ten before the upper server"],
)
def test_registrations_and_calls_end_as_they_should(world, sipp, phones, beyond):
    upper, border, proxy = world(phones, beyond)
    keys = {"realm": "example.test", "expires": "600", "contact": ""}
    home = {name: free_port() for name in ("alice", "bob")}
    for name, port in home.items():
        sipp("register-open", proxy, port=port, keys=keys, rows=[f"{name};"]).finish()
    rows = [f"user{number};" for number in range(REGISTERS)]
    crowd = sipp("register-open", proxy, keys=keys, rows=rows, calls=REGISTERS, rate=200)
    callee = sipp("callee", proxy, port=home["bob"], calls=CALLS, seconds=170)
    keys = {"realm": "example.test", "caller": "alice", "callee": "bob"}
    caller = sipp("caller", proxy, port=home["alice"], keys=keys, calls=CALLS, rate=50)

    crowd.finish()
    caller.finish()
    callee.stop()

    for number in (0, REGISTERS // 2, REGISTERS - 1):
        assert len(upper.contacts(f"user{number}")) == 1
    assert border.rows("select count(*) as n from bindings")[0]["n"] == REGISTERS + 2
    invites, answers, rejections = defaultdict(set), defaultdict(set), []
    for sent, text in messages(callee):
        if not sent and text.startswith("INVITE"):
            invites[value("Call-ID", text)].add(value("Via", text))
    for sent, text in messages(caller):
        if not sent and re.match(r"SIP/2.0 200[^\0]*\nCSeq: 1 INVITE", text):
            answers[value("Call-ID", text)].add(value("To", text))
        if not sent and re.match(r"SIP/2.0 [3-6]", text):
            rejections.append(text)
    assert len(invites) == len(answers) == CALLS
    assert {len(branches) for branches in invites.values()} == {1}, "a phone saw two INVITEs for one call"
    assert {len(tags) for tags in answers.values()} == {1}, "a call was answered twice"
    assert not rejections
    until(lambda: not border.rows("select * from dialogs"), "no dialog is left")
    ended = "select count(*) as n from cdrs where ended_at is not null and code = 200"
    until(lambda: border.rows(ended)[0]["n"] == 2 * CALLS, "a record of each call, which crosses twice")


@pytest.mark.parametrize(("phones", "beyond"), [(STORM, RAIN), (RAIN, STORM)], ids=["storm before phones", "beyond"])
def test_a_sleeping_phone_is_woken_and_gets_its_calls_and_messages_once(world, lab, sipp, baresip, phones, beyond):
    sections = {**lab.sections(), "registrar": {"udp_awake": "1s"}}
    upper, border, proxy = world(phones, beyond, sections)
    phone = lab.phone("bob", USERS["bob"], proxy)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    settle(1.3)
    keys = {"realm": "example.test", "callee": "bob", "text": "good morning"}
    sipp("message-open", f"{upper.host}:{upper.port}", keys=keys, rows=["alice;"]).finish()
    until(lambda: phone.messages() == ["good morning\r\n"], "the message, once")

    phone.sleep()
    settle(1.3)
    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    settle(0.5)
    alice.hang_up()
    phone.wait("ended")

    assert len({value("Via", request) for request in phone.requests("INVITE")}) == 1, "two INVITEs for one call"
    assert phone.messages() == ["good morning\r\n"]
    until(lambda: not border.rows("select * from dialogs"), "no dialog is left")
    assert len(lab.pushes()) <= 4, "at most one more push each, where an answer was lost"
