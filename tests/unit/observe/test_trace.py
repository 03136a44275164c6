"""The trace ring keeps the youngest, within its bytes, and shows no secrets."""

from sbc.observe.trace import ENTRY_OVERHEAD, TraceRing, call_id_of


def invite(call_id):
    return b"INVITE sip:alice@pbx SIP/2.0\r\nAuthorization: Digest response=abc\r\nCall-ID: " + call_id + b"\r\n\r\n"


def record(ring, call_id, message=None, at=1.0):
    ring.record(at, "in", "udp:127.0.0.1:5060", "udp:127.0.0.2:5060", message or invite(call_id))


def test_off_until_started():
    ring = TraceRing()
    record(ring, b"c1")
    assert ring.read() == []
    ring.start()
    record(ring, b"c1")
    record(ring, b"c2", b"SIP/2.0 180 Ringing\r\ni : c2 \r\n\r\n")
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
    room = 10 * (len(invite(b"c10")) + ENTRY_OVERHEAD)
    ring = TraceRing(room)
    ring.start()
    for number in range(100):
        record(ring, b"c%02d" % number)
    assert len(ring) == room
    assert [entry.call_id for entry in ring.read()] == [b"c%02d" % number for number in range(90, 100)]
    record(ring, b"huge", b"x" * room)
    assert len(ring.read()) == 10


def test_the_call_id_is_found_in_any_spelling_and_only_in_the_header():
    assert call_id_of(b"X sip:a SIP/2.0\r\nCALL-ID\t:  a@b \r\n\r\n") == b"a@b"
    assert call_id_of(b"X sip:a SIP/2.0\nI:a\n\n") == b"a"
    assert call_id_of(b"X sip:a SIP/2.0\r\nVia: i: x\r\n\r\nCall-ID: body\r\n") == b""
    assert call_id_of(b"") == b""
