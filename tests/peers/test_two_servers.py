"""Two Kamailios of one domain, and the first is killed while phones register and call."""

from __future__ import annotations

import threading
import time

from tests.peers.conftest import USERS
from tests.peers.program import until

SILENCE = 2.0
"""Seconds that the SBC waits for a server that says nothing."""
AWAY = 6.0
"""Seconds of calls after the kill."""


def table(name, upper, priority):
    return {
        "name": name,
        "uri": f"sip:{upper.host}:{upper.port};transport=udp",
        "domain": upper.realm,
        "priority": priority,
    }


def one_call(alice):
    """Alice calls carol through whichever server takes it, and hangs up; how long it took until she answered."""
    began, before = time.monotonic(), len(alice.events)
    alice.call("sip:carol@example.test")
    alice.wait("CALL_ESTABLISHED", after=before)
    took = time.monotonic() - began
    alice.hang_up()
    alice.wait("CALL_CLOSED", after=before)
    return took


def test_one_of_two_servers_is_killed_while_calls_and_registers_go_on(kamailio, sbc, lab, baresip, sipp):
    first, second = kamailio(host="127.0.0.2"), kamailio(host="127.0.0.6")
    for upper in (first, second):  # carol has a phone at each, on the other side of it
        baresip("carol", f"{upper.host}:{upper.port}", answer=True)
    servers = [table("first", first, 0), table("second", second, 10)]
    routing = {"health_interval": "1s", "failover_after": f"{SILENCE:g}s"}
    border = sbc(servers, sections={**lab.sections(), "routing": routing, "media": {"relay": "never"}})
    phone = lab.phone("bob", USERS["bob"], border.address, transport="tcp")
    phone.sleep()
    first.wait_registered("bob")
    alice = baresip("alice", border.address)
    keys = {"realm": "example.test", "expires": "600", "contact": ""}
    rows = [f"dave;[authentication username=dave password={USERS['dave']}]"]
    load = sipp("register", border.address, keys=keys, rows=rows, calls=200, rate=20, seconds=60)

    calls = [one_call(alice)]
    killing = threading.Thread(target=first.program.kill)
    killing.start()  # in the middle of what comes now
    end = time.monotonic() + AWAY
    while time.monotonic() < end or len(calls) < 4:
        calls.append(one_call(alice))
    killing.join()

    assert min(calls[1:]) < SILENCE, f"the dead server costs no time any more: {calls}"
    load.finish()  # every REGISTER was answered 200
    second.wait_registered("dave")
    second.wait_registered("bob")
    joined = "upper_registrations r join users u on u.id = r.user_id"

    def held():
        found = border.rows(f"select u.username, r.upper from {joined} where r.state = 'registered'")
        return {(row["username"], row["upper"]) for row in found}

    until(lambda: held() >= {("bob", "second"), ("dave", "second")}, lambda: f"both are there: {held()}")
    assert {row["username"] for row in border.rows("select username from users")} == {"alice", "bob", "dave"}
    ended = border.wait_rows("select code from cdrs where caller like 'alice%' and ended_at is not null")
    assert {row["code"] for row in ended} <= {407, 200}, "challenged, then answered: no call failed"
    assert phone.kinds().count("awake") == 1, "nobody was woken for that"
    assert border.metrics()['sbc_upper_up{upper="first"}'] == 0.0

    # The server that is left calls bob, and he is woken.
    dave = baresip("dave", f"{second.host}:{second.port}")
    dave.call("sip:bob@example.test")
    dave.wait("CALL_ESTABLISHED")
    dave.hang_up()

    # The first comes back, empty: what the SBC keeps returns to it.
    first.start()
    first.wait_registered("bob")
