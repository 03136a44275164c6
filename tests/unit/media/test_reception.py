"""Losses and jitter of an RTP stream."""

from __future__ import annotations

from sbc.media.rtp import HEADER, MEDIA_BYTE, Reception, looks_like_rtcp, looks_like_rtp


def heard(*sequence: int, ssrc: int = 1) -> Reception:
    reception = Reception()
    for number in sequence:
        reception.note(0, number & 0xFFFF, number * 160, ssrc, number * 0.02)
    return reception


def test_a_gap_is_a_loss_and_a_late_packet_undoes_it() -> None:
    assert heard(1, 2, 3).lost == 0
    assert heard(1, 2, 5).lost == 2
    assert heard(1, 2, 5, 3).lost == 1
    assert heard(1, 2, 5, 3, 6).lost == 1


def test_the_sequence_wraps() -> None:
    assert heard(65534, 65535, 65536, 65537).lost == 0
    assert heard(65534, 65537).lost == 2


def test_a_big_jump_or_another_source_begins_anew() -> None:
    assert heard(1, 2, 30000, 30001).lost == 0
    reception = heard(1, 2)
    reception.note(0, 500, 0, 2, 1.0)
    assert reception.lost == 0
    assert reception.expected == 501


def test_jitter_is_kept_in_seconds_when_the_clock_changes() -> None:
    reception = heard(1)
    reception.jitter_units = 80.0
    assert reception.jitter == 0.01
    reception.describe({96: 48000})
    reception.note(96, 2, 0, 1, 0.04)
    assert reception.rate == 48000
    assert abs(reception.jitter - 0.01) < 1e-9


def test_kinds_of_datagrams() -> None:
    assert looks_like_rtp(0x80, 0, 12)
    assert looks_like_rtp(0x80, 0xE0, 172)
    assert not looks_like_rtp(0x80, 0, 11)
    assert not looks_like_rtp(0x00, 1, 20)
    assert not looks_like_rtp(0x80, 200, 28)
    assert looks_like_rtcp(0x81, 201, 8)
    assert not looks_like_rtcp(0x80, 201, 7)
    assert HEADER.size == 12


def test_no_sip_fits_through_a_media_port() -> None:
    for first in b"INVITEREGISTEROPTIONSsip\r\n\t":
        assert not MEDIA_BYTE[first]
    for first in (0, 1, 20, 22, 23, 0x80, 0x90, 0xBF):
        assert MEDIA_BYTE[first]
