"""The trace ring keeps the youngest, within its bytes, and shows no secrets."""

from sbc.observe.trace import ENTRY_OVERHEAD, TraceRing

INVITE = b"INVITE sip:alice@pbx SIP/2.0\r\nAuthorization: Digest response=abc\r\n\r\n"


def record(ring, call_id, message=INVITE, at=1.0):
    ring.record(at, "in", call_id, "udp:127.0.0.1:5060", "udp:127.0.0.2:5060", message)


def test_off_until_started():
    ring = TraceRing()
    record(ring, b"c1")
    assert ring.read() == []
    ring.start()
    record(ring, b"c1")
    record(ring, b"c2", b"SIP/2.0 180 Ringing\r\n\r\n")
    assert [entry.summary for entry in ring.read()] == ["INVITE sip:alice@pbx", "180 Ringing"]
    assert [entry.call_id for entry in ring.read(b"c2")] == [b"c2"]
    assert "abc" not in ring.read(b"c1")[0].text
    ring.stop()
    record(ring, b"c1")
    assert len(ring.read()) == 2
    ring.clear()
    assert ring.read() == []
    assert len(ring) == 0


def test_one_call_only():
    ring = TraceRing()
    ring.start(b"c2")
    record(ring, b"c1")
    record(ring, b"c2")
    assert [entry.call_id for entry in ring.read()] == [b"c2"]


def test_bytes_are_bounded():
    room = 10 * (len(INVITE) + ENTRY_OVERHEAD)
    ring = TraceRing(room)
    ring.start()
    for number in range(100):
        record(ring, b"c%d" % number)
    assert len(ring) == room
    assert [entry.call_id for entry in ring.read()] == [b"c%d" % number for number in range(90, 100)]
    record(ring, b"huge", b"x" * room)
    assert len(ring.read()) == 10
