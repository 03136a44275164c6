"""Descriptions as the other side shall see them."""

from __future__ import annotations

from sbc.media import sdp
from sbc.media.rewrite import Ports, forwardable, redirect


def redirected(body: bytes, ports: dict[int, Ports] | None = None, address: bytes = b"203.0.113.1") -> bytes:
    session = sdp.parse(body)
    if ports is None:
        ports = {
            index: Ports(20000 + 4 * index, 20001 + 4 * index)
            for index, media in enumerate(session.media)
            if media.port and forwardable(media)
        }
    redirect(session, ports, address)
    return session.render()


def test_an_ordinary_offer() -> None:
    assert redirected(
        b"v=0\r\no=- 7 8 IN IP4 192.168.1.5\r\ns=call\r\nc=IN IP4 192.168.1.5\r\nt=0 0\r\n"
        b"m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
    ) == (
        b"v=0\r\no=- 7 8 IN IP4 203.0.113.1\r\ns=call\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n"
        b"m=audio 20000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
    )


def test_line_ends_stay() -> None:
    body = b"v=0\nc=IN IP4 10.0.0.5\nm=audio 4000 RTP/AVP 0"
    assert redirected(body) == b"v=0\nc=IN IP4 203.0.113.1\nm=audio 20000 RTP/AVP 0"


def test_each_media_with_its_own_address() -> None:
    assert redirected(
        b"v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.0.0.5\r\nm=video 4002 RTP/AVP 97\r\nc=IN IP4 10.0.0.6\r\n"
    ) == (
        b"v=0\r\nm=audio 20000 RTP/AVP 0\r\nc=IN IP4 203.0.113.1\r\n"
        b"m=video 20004 RTP/AVP 97\r\nc=IN IP4 203.0.113.1\r\n"
    )


def test_an_address_is_added_where_none_was() -> None:
    body = b"v=0\r\nm=audio 4000 RTP/AVP 0\r\na=ptime:20\r\n"
    assert redirected(body) == b"v=0\r\nm=audio 20000 RTP/AVP 0\r\nc=IN IP4 203.0.113.1\r\na=ptime:20\r\n"


def test_to_an_ipv6_side() -> None:
    body = b"v=0\r\no=- 1 1 IN IP4 10.0.0.5\r\nc=IN IP4 10.0.0.5\r\nm=audio 4000 RTP/AVP 0\r\n"
    assert redirected(body, address=b"2001:db8::1") == (
        b"v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\nc=IN IP6 2001:db8::1\r\nm=audio 20000 RTP/AVP 0\r\n"
    )


def test_hold_by_the_null_address_stays_hold() -> None:
    body = b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n"
    assert redirected(body) == b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 20000 RTP/AVP 0\r\n"
    body = b"v=0\r\nc=IN IP4 10.0.0.5\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"
    assert redirected(body) == b"v=0\r\nc=IN IP4 203.0.113.1\r\nm=audio 20000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"


def test_a_rejected_line_keeps_its_zero_and_tells_no_address() -> None:
    body = b"v=0\r\nc=IN IP4 10.0.0.5\r\nm=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 97\r\nc=IN IP4 10.0.0.6\r\n"
    assert redirected(body) == (
        b"v=0\r\nc=IN IP4 203.0.113.1\r\nm=audio 20000 RTP/AVP 0\r\nm=video 0 RTP/AVP 97\r\nc=IN IP4 203.0.113.1\r\n"
    )


def test_media_that_is_not_relayed_keeps_its_address() -> None:
    body = b"v=0\r\nc=IN IP4 10.0.0.5\r\nm=audio 4000 RTP/AVP 0\r\nm=message 7000 TCP/MSRP *\r\na=path:msrp://x\r\n"
    assert redirected(body) == (
        b"v=0\r\nc=IN IP4 203.0.113.1\r\nm=audio 20000 RTP/AVP 0\r\n"
        b"m=message 7000 TCP/MSRP *\r\nc=IN IP4 10.0.0.5\r\na=path:msrp://x\r\n"
    )


def test_rtcp_attributes() -> None:
    head = b"v=0\r\nc=IN IP4 10.0.0.5\r\nm=audio 4000 RTP/AVP 0\r\n"
    assert b"a=rtcp:20001\r\n" in redirected(head + b"a=rtcp:4009\r\n")
    assert b"a=rtcp:20001 IN IP4 203.0.113.1\r\n" in redirected(head + b"a=rtcp:4009 IN IP4 10.0.0.9\r\n")
    assert b"a=rtcp:20000\r\na=rtcp-mux\r\n" in redirected(head + b"a=rtcp:4000\r\na=rtcp-mux\r\n")
    assert b"a=rtcp-mux\r\n" in redirected(head + b"a=rtcp-mux\r\n")
    assert b"a=rtcp-fb:97 nack\r\n" in redirected(head + b"a=rtcp-fb:97 nack\r\n")


def test_nothing_leads_past_the_relay() -> None:
    body = (
        b"v=0\r\nc=IN IP4 10.0.0.5\r\na=group:BUNDLE 0\r\na=group:LS 0\r\na=ice-lite\r\n"
        b"m=audio 4000 RTP/SAVP 0\r\na=mid:0\r\n"
        b"a=ice-ufrag:x\r\na=ice-pwd:y\r\na=candidate:1 1 UDP 2130706431 10.0.0.5 4000 typ host\r\n"
        b"a=crypto:1 A inline:k\r\n"
    )
    assert redirected(body) == (
        b"v=0\r\nc=IN IP4 203.0.113.1\r\na=group:LS 0\r\n"
        b"m=audio 20000 RTP/SAVP 0\r\na=mid:0\r\na=crypto:1 A inline:k\r\n"
    )


def test_layered_ports_become_one() -> None:
    assert b"m=video 20000 RTP/AVP 31 97\r\n" in redirected(
        b"v=0\r\nc=IN IP4 10.0.0.5\r\nm=video 4000/2 RTP/AVP 31 97\r\n"
    )


def test_what_a_relay_of_datagrams_can_carry() -> None:
    def first(line: bytes) -> sdp.Media:
        return sdp.parse(b"v=0\r\nm=" + line + b"\r\n").media[0]

    for line in (b"audio 4 RTP/AVP 0", b"audio 4 rtp/avp 0", b"video 4 RTP/SAVPF 97", b"image 4 udptl t38"):
        assert forwardable(first(line))
    for line in (b"message 4 TCP/MSRP *", b"audio 4 TCP/RTP/AVP 0", b"x 4 y"):
        assert not forwardable(first(line))
