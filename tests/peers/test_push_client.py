"""The push client against an HTTP/2 server that is not ours: its frames as nghttpd sees them."""

from __future__ import annotations

import re

from tests.peers.conftest import USERS
from tests.peers.program import until
from tests.peers.sbc_process import settle


def test_nghttpd_finds_nothing_wrong_with_a_push(kamailio, sbc, lab, nghttpd, baresip):
    upper = kamailio()
    token = "ab" * 32
    provider = nghttpd(paths=(f"/3/device/{token}",))
    sections = {
        **lab.sections(),
        "apns": {"url": provider.url, "ca_file": str(provider.certificate)},
        "registrar": {"udp_awake": "1s"},
        "push": {"enabled": "on", "max_wait": "3s"},
    }
    border = sbc(upper, sections=sections)
    phone = lab.phone("bob", USERS["bob"], border.address, token=token)
    alice = baresip("alice", f"{upper.host}:{upper.port}")
    phone.sleep()
    settle(1.2)

    alice.call("sip:bob@example.test")
    until(lambda: f"/3/device/{token}" in provider.frames(), "the push at nghttpd")
    alice.wait("CALL_CLOSED")

    frames = provider.frames()
    for name, value in {
        ":method": "POST",
        ":path": f"/3/device/{token}",
        "apns-push-type": "voip",
        "apns-topic": "com.example.phone.voip",
        "apns-priority": "10",
    }.items():
        assert re.search(rf"{re.escape(name)}: {re.escape(value)}\b", frames), f"{name}: {value}"
    assert re.search(r"authorization: (?:<sensitive>|bearer )", frames)
    assert re.search(r"recv DATA frame", frames)
    assert not re.search(r"error_code=(?!NO_ERROR)", frames), "neither side found an error"
