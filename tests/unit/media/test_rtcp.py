"""What receivers report, and what call records say of it."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as some

from sbc.media.engine import Direction, StreamStatistics
from sbc.media.rtcp import Reports
from sbc.media.telling import told
from tests.unit.media.crypt_phones import SdesPhone
from tests.unit.media.relay_world import Phone, World, result, world


def block(lost: int, jitter: int) -> bytes:
    return pack("!IIIIII", 0x1234, (7 << 24) | (lost & 0xFFFFFF), 1000, jitter, 0, 0)


def receiver_report(*blocks: bytes) -> bytes:
    return pack("!BBHI", 0x80 | len(blocks), 201, 1 + 6 * len(blocks), 0x99) + b"".join(blocks)


def sender_report(*blocks: bytes) -> bytes:
    return pack("!BBHI", 0x80 | len(blocks), 200, 6 + 6 * len(blocks), 0x99) + bytes(20) + b"".join(blocks)


def test_a_report_is_read() -> None:
    for packet in (receiver_report(block(5, 80)), sender_report(block(5, 80), block(9, 9))):
        reports = Reports()
        reports.note(packet + pack("!BBHI", 0x81, 202, 1, 0x99))
        assert (reports.lost, reports.jitter_units) == (5, 80)


def test_more_packets_than_were_sent_are_no_loss() -> None:
    reports = Reports()
    reports.note(receiver_report(block(-3, 0)))
    assert reports.lost == 0


def test_a_report_without_blocks_says_nothing() -> None:
    reports = Reports()
    reports.note(receiver_report())
    assert reports.lost is None


@given(some.binary(max_size=200))
def test_what_is_malformed_is_passed_over(packet: bytes) -> None:
    Reports().note(packet)
    Reports().note(receiver_report(block(1, 1))[:4] + packet)


def report(phone: Phone, packet: bytes) -> None:
    phone.rtcp.sendto(packet, (phone.far[0], phone.far[1] + 1))


def test_reports_are_in_the_statistics_of_what_they_are_about(relay: World) -> None:
    a, b = relay.phone("127.0.0.3"), relay.phone("127.0.0.4")
    relay.call(a, b)
    a.say(), b.say()
    report(b, receiver_report(block(4, 160)))
    relay.turn()
    [stream] = result(relay.calls.close("leg")).streams
    assert (stream.from_a.reported_lost, stream.from_a.reported_jitter) == (4, 0.02)
    assert stream.from_b.reported_lost is None


def test_reports_of_strangers_have_no_effect(relay: World) -> None:
    a, b, stranger = relay.phone("127.0.0.3"), relay.phone("127.0.0.4"), relay.phone("127.0.0.66")
    relay.call(a, b)
    report(b, receiver_report(block(4, 160)))
    relay.turn()
    stranger.far = b.far
    report(stranger, receiver_report(block(1000, 9)))
    report(stranger, pack("!BBHI", 0x81, 203, 1, 0x1234))  # BYE
    relay.turn()
    assert len(a.heard(a.rtcp)) == 1
    [stream] = result(relay.calls.close("leg")).streams
    assert stream.from_a.reported_lost == 4
    assert stream.from_b.foreign == 2


def test_what_passes_encrypted_is_not_read(relay: World) -> None:
    a, b = SdesPhone("127.0.0.3"), SdesPhone("127.0.0.4")
    relay.phones += [a, b]
    offered = relay.offer(a.describe(), source=a.host)
    Phone.learn(b, offered)
    Phone.learn(a, relay.answer(b.describe(), source=b.host))
    report(b, receiver_report(block(4, 160)))
    relay.turn()
    [stream] = result(relay.calls.close("leg")).streams
    assert stream.from_a.reported_lost is None


def test_what_is_decrypted_is_read() -> None:
    with world(srtp_clients="off") as relay:
        a, b = SdesPhone("127.0.0.3"), relay.phone("127.0.0.4")
        relay.phones.append(a)
        b.learn(relay.offer(a.describe(), source=a.host))
        a.learn(relay.answer(b.describe(), source=b.host))
        packet = a.sealer.rtcp(receiver_report(block(6, 80)))
        a.rtcp.sendto(packet, (a.far[0], a.far[1] + 1))
        relay.turn()
        [stream] = result(relay.calls.close("leg")).streams
        assert (stream.from_b.reported_lost, stream.from_b.reported_jitter) == (6, 0.01)


def test_a_line_of_the_record() -> None:
    quiet = StreamStatistics(0, "audio", Direction(packets=5), Direction(packets=6, lost=1))
    assert told(quiet) == "audio: from the caller 5 packets (0 lost), from the callee 6 packets (1 lost)"
    loud = StreamStatistics(
        0, "audio", Direction(packets=5, jitter=0.0041, reported_lost=2, reported_jitter=0.01, refused=7), Direction()
    )
    assert told(loud).endswith("; jitter 4.1 and 0.0 ms; the callee reports 2 lost, jitter 10.0 ms; refused 7 and 0")
