"""Finding the description in a body."""

from __future__ import annotations

import pytest

from sbc.media.bodies import find
from sbc.sip.errors import ParseError
from tests import cpu

MIXED = (
    b"preamble\r\n--b\r\nContent-Type: application/isup;version=x\r\n\r\n\x01\x02--b\r\n"
    b"--b\r\nContent-Disposition: session\r\nContent-Type: Application/SDP\r\n\r\n"
    b"v=0\r\nm=audio 4 RTP/AVP 0\r\n\r\n--b--\r\n"
)


def part(body: bytes, kind: bytes | None) -> bytes | None:
    found = find(body, kind)
    return None if found is None else body[found[0] : found[1]]


def test_a_description_is_the_whole_body() -> None:
    assert part(b"v=0\r\n", b"application/sdp") == b"v=0\r\n"
    assert part(b"v=0\r\n", b"Application/SDP ; charset=x") == b"v=0\r\n"
    assert part(b"v=0\r\n", None) == b"v=0\r\n"


def test_other_bodies_have_none() -> None:
    assert part(b"hello", b"text/plain") is None
    assert part(b"hello", None) is None
    assert part(b"", b"application/sdp") is None
    assert part(b"<x/>", b"application/sdp+xml") is None


def test_a_part_of_a_multipart_body() -> None:
    assert part(MIXED, b"multipart/mixed; boundary=b") == b"v=0\r\nm=audio 4 RTP/AVP 0\r\n"
    assert part(MIXED, b'Multipart/Mixed;x=y;boundary="b"') == b"v=0\r\nm=audio 4 RTP/AVP 0\r\n"
    assert part(MIXED.replace(b"\r\n", b"\n"), b"multipart/mixed; boundary=b") == b"v=0\nm=audio 4 RTP/AVP 0\n"


def test_an_encoded_part_is_left_alone() -> None:
    body = b"--b\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--b--\r\n"
    assert part(body, b"multipart/mixed;boundary=b") is None


def test_a_multipart_body_that_is_not_closed() -> None:
    body = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"
    assert part(body, b"multipart/mixed;boundary=b") == b"v=0\r\n"


@pytest.mark.parametrize(
    "kind", [b"multipart/mixed", b"multipart/mixed;boundary=", b"multipart/x;boundary=" + b"b" * 71]
)
def test_a_multipart_body_without_a_usable_boundary(kind: bytes) -> None:
    with pytest.raises(ParseError):
        find(b"--b\r\n\r\n", kind)


@pytest.mark.parametrize(
    "body", [b"--b\r\n" * 10_000, b"--b" * 20_000, b"\n" * 60_000, b"--b\r\n\r\n" + b"\n--b" * 15_000]
)
def test_hostile_multipart_bodies_end_at_once(body: bytes) -> None:
    assert find(body, b"multipart/mixed;boundary=b") is None
    assert cpu.least(lambda: find(body, b"multipart/mixed;boundary=b"), 0.2) < 0.2
