"""SRTP of one direction."""

from __future__ import annotations

import os

import pytest

from sbc.media.indexes import MAX_SOURCES
from sbc.media.rtp import HEADER
from sbc.media.sdes import SUITES, Suite
from sbc.media.srtp import Opener, Refused, Sealer


def packet(sequence: int, source: int = 1) -> bytes:
    return HEADER.pack(0x80, 0, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, source) + b"payload"


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.decode())
def test_over_the_end_of_the_sequence_numbers(suite: Suite) -> None:
    key = os.urandom(suite.size)
    sealer, opener = Sealer(suite, key), Opener(suite, key)
    for number in range(65_530, 65_545):
        assert opener.rtp(sealer.rtp(packet(number))) == packet(number)
    report = b"\x80\xc8\x00\x06" + b"\x00" * 24
    assert opener.rtcp(sealer.rtcp(report)) == report


def test_the_same_packet_is_neither_opened_nor_sealed_twice() -> None:
    key = os.urandom(SUITES[0].size)
    sealer, opener = Sealer(SUITES[0], key), Opener(SUITES[0], key)
    sealed = sealer.rtp(packet(1))
    opener.rtp(sealed)
    with pytest.raises(Refused):
        opener.rtp(sealed)
    with pytest.raises(Refused):
        sealer.rtp(packet(1))


def test_few_sources_are_served() -> None:
    key = os.urandom(SUITES[0].size)
    sealer, opener = Sealer(SUITES[0], key), Opener(SUITES[0], key)
    for source in range(MAX_SOURCES):
        opener.rtp(sealer.rtp(packet(1, source)))
    with pytest.raises(Refused):
        sealer.rtp(packet(1, MAX_SOURCES))
    other = Sealer(SUITES[0], key)
    with pytest.raises(Refused):
        opener.rtp(other.rtp(packet(1, MAX_SOURCES)))
    assert opener.rtp(sealer.rtp(packet(2, 0)))


def test_packets_that_are_too_long() -> None:
    with pytest.raises(Refused):
        Sealer(SUITES[0], os.urandom(44)).rtp(packet(1) + bytes(1500))
