"""Two DTLS-SRTP endpoints whose datagrams pass through the test's hands."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from sbc.media import dtls
from sbc.media.dtls import MAX_ATTEMPTS, MTU, Association, Identity
from sbc.media.protection import Fingerprint

OURS, THEIRS = Identity(), Identity()


def pair(ours: Identity = OURS, theirs: Identity = THEIRS) -> tuple[Association, Association]:
    """A server and a client that expect each other."""
    server = Association(ours, frozenset({theirs.fingerprint}), active=False)
    client = Association(theirs, frozenset({ours.fingerprint}), active=True)
    return server, client


def talk(server: Association, client: Association, waiting: list[bytes] | None = None) -> None:
    """Carry datagrams until nobody says anything more."""
    waiting = client.begin() if waiting is None else waiting
    for _ in range(10):
        waiting = [reply for datagram in waiting for reply in server.receive(datagram)]
        waiting = [reply for datagram in waiting for reply in client.receive(datagram)]
        if not waiting:
            return


def test_both_sides_agree_on_keys() -> None:
    server, client = pair()
    assert server.begin() == []
    talk(server, client)
    assert server.keys is not None
    assert client.keys is not None
    assert server.keys.suite == client.keys.suite
    assert (server.keys.inbound, server.keys.outbound) == (client.keys.outbound, client.keys.inbound)
    assert len(server.keys.inbound) == server.keys.suite.size
    assert server.over
    assert server.wait() is None


def test_datagrams_fit_any_path() -> None:
    server, client = pair()
    for datagram in client.begin():
        for reply in server.receive(datagram):
            assert len(reply) <= MTU


def test_a_certificate_nobody_announced_gives_no_keys() -> None:
    server, client = pair()
    server.fingerprints = frozenset({Fingerprint(b"sha-256", bytes(32))})
    talk(server, client)
    assert server.keys is None
    assert "certificate" in server.failure
    assert server.receive(b"\x16\xfe\xff" + bytes(20)) == []


def test_no_profile_in_common_gives_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL takes it for a success."""
    every = dict(dtls._PROFILES)
    identities = []
    for name in (b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"):
        monkeypatch.setattr(dtls, "_PROFILES", {name: every[name]})
        identities.append(Identity())
    server, client = pair(*identities)
    talk(server, client)
    assert (server.keys, server.failure) == (None, "DTLS: no SRTP profile in common")
    assert client.failure == server.failure


def test_a_lost_message_is_sent_again() -> None:
    _, client = pair()
    client.begin()
    assert client.wait() is not None
    assert client.wait() <= 1.0


def test_a_lost_last_message_is_repeated_when_asked() -> None:
    server, client = pair()
    second = [reply for datagram in client.begin() for reply in server.receive(datagram)]
    third = [reply for datagram in second for reply in client.receive(datagram)]
    lost = [reply for datagram in third for reply in server.receive(datagram)]
    assert lost
    assert server.keys is not None
    time.sleep(client.wait() or 0)
    for datagram in [reply for each in client.timeout() for reply in server.receive(each)]:
        client.receive(datagram)
    assert client.keys is not None


def test_openssl_gives_up_after_a_dozen_times() -> None:
    _, client = pair()
    client.begin()

    class Tired:
        def DTLSv1_handle_timeout(self) -> None:
            raise SSL.Error

        def bio_read(self, _: int) -> bytes:
            raise SSL.WantReadError

    client._connection = Tired()  # type: ignore[assignment]
    assert client.timeout() == []
    assert client.failure == "DTLS: no handshake"
    assert client.wait() is None


def test_junk_before_the_handshake_does_not_matter() -> None:
    server, client = pair()
    for junk in (
        b"\x16",
        os.urandom(60),
        b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",
        _record(22, os.urandom(40)),
    ):
        server.receive(junk)
    talk(server, client)
    assert server.keys is not None


def test_junk_for_ever_ends_it() -> None:
    server, _ = pair()
    for _ in range(MAX_ATTEMPTS + 1):
        server.receive(_record(22, b"\x01" + b"\xff" * 40))
    assert server.failure == "DTLS: no handshake"


def _record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 0xFE, 0xFF)) + bytes(8) + len(body).to_bytes(2, "big") + body


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=100), st.builds(_record, st.integers(20, 25), st.binary(max_size=90)))))
def test_nothing_raises(datagrams: list[bytes]) -> None:
    server, client = pair()
    client.begin()
    for datagram in datagrams:
        server.receive(datagram)
        client.receive(datagram)
    server.timeout()
    client.timeout()
