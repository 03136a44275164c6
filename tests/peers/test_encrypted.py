"""Encryption: a phone on TLS, and media that the phones encrypt among themselves."""

from __future__ import annotations

import pytest

from tests.peers.nghttpd_server import certificate
from tests.peers.ports import free_port
from tests.peers.test_calls import talk, talked


def test_a_phone_on_tls_talks_to_one_on_udp(kamailio, sbc, baresip, tmp_path):
    upper = kamailio()
    chain, key = tmp_path / "sbc.pem", tmp_path / "sbc.key"
    certificate(chain, key, "127.0.0.1")
    plain, secure = free_port(), free_port()
    listen = [
        {"uri": f"udp:127.0.0.1:{plain}"},
        {"uri": f"tls:127.0.0.1:{secure}", "certificate": str(chain), "key": str(key)},
    ]
    border = sbc(upper, port=plain, listen=listen)
    bob = baresip("bob", f"127.0.0.1:{secure}", transport="tls", answer=True)
    alice = baresip("alice", f"{upper.host}:{upper.port}")

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    bob.hang_up()
    alice.wait("CALL_CLOSED")

    talked(alice, bob)
    [binding] = border.rows("select transport from bindings")
    assert binding["transport"] == "TLS"


@pytest.mark.parametrize("keys", ["srtp-mand", "dtls_srtp"])
def test_media_encrypted_by_the_phones_passes_the_relay(kamailio, sbc, baresip, keys):
    upper = kamailio()
    border = sbc(upper, sections={"media": {"relay": "always"}})
    bob = baresip("bob", border.address, answer=True, parameters=(f"mediaenc={keys}",))
    alice = baresip("alice", f"{upper.host}:{upper.port}", parameters=(f"mediaenc={keys}",))

    alice.call("sip:bob@example.test")
    alice.wait("CALL_ESTABLISHED")
    talk(alice, bob)
    alice.hang_up()
    bob.wait("CALL_CLOSED")

    talked(alice, bob)
