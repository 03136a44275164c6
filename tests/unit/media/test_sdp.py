"""Session descriptions: what is read from them, and that nothing else is changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc.media import bodies, sdp
from sbc.media.interwork import open_bundle
from sbc.media.protection import read
from sbc.media.rewrite import Ports, forwardable, redirect
from sbc.sip.errors import ParseError, RemoteError

PHONE = (
    b"v=0\r\n"
    b"o=alice 2890844526 2890844527 IN IP4 192.168.1.5\r\n"
    b"s= \r\n"
    b"c=IN IP4 192.168.1.5\r\n"
    b"t=0 0\r\n"
    b"a=X-nat:0\r\n"
    b"m=audio 49170/2 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"a=rtcp:53020\r\n"
    b"a=sendrecv\r\n"
    b"m=video 51372 RTP/AVPF 97\r\n"
    b"c=IN IP6 2001:db8::5\r\n"
    b"a=rtpmap:97 H264/90000\r\n"
    b"a=rtcp-mux\r\n"
    b"a=inactive\r\n"
    b"m=message 0 TCP/MSRP *\r\n"
)
EDGES = [
    PHONE,
    PHONE.replace(b"\r\n", b"\n"),
    PHONE.rstrip(),
    b"v=0",
    b"v=0\r\n\r\n\r\nx-unknown stuff\r\n=\r\na=\r\na=:\r\n",
    b"v=0\nm=audio 4 RTP/AVP 0\r\r\nc=IN IP4 224.2.1.1/127/3\n",
    b"v=0\r\nm=audio 9 rtp/avp 0\r\nc=in ip4 host.example.com\r\na=RTCP:9 IN IP4 0.0.0.0\r\na=\xff\x00\r\n",
]


@pytest.mark.parametrize("body", EDGES)
def test_what_nobody_touched_leaves_as_it_came(body: bytes) -> None:
    assert sdp.parse(body).render() == body
    assert sdp.parse(body).copy().render() == body


def test_media_lines_are_typed() -> None:
    session = sdp.parse(PHONE)
    audio, video, message = session.media

    assert (audio.kind, audio.port, audio.protocol, audio.formats) == (
        b"audio",
        49170,
        b"RTP/AVP",
        (b"0", b"8", b"101"),
    )
    assert session.rtp_place(audio) == sdp.Place("192.168.1.5", 49170)
    assert session.rtcp_place(audio) == sdp.Place("192.168.1.5", 53020)
    assert session.rtp_place(video) == sdp.Place("2001:db8::5", 51372)
    assert session.rtcp_place(video) == sdp.Place("2001:db8::5", 51373)
    assert session.rtp_place(message) is None
    assert [audio.muxed, video.muxed] == [False, True]
    assert [session.held(each) for each in session.media] == [False, True, True]
    assert audio.clocks() == {0: 8000, 8: 8000, 101: 8000}
    assert video.clocks() == {97: 90000}


def test_hold_by_the_null_address() -> None:
    session = sdp.parse(b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n")
    assert session.held(session.media[0])
    assert session.rtp_place(session.media[0]) is None


def test_a_session_wide_direction_holds_for_media_without_one() -> None:
    session = sdp.parse(b"v=0\r\na=sendonly\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 97\r\na=inactive\r\n")
    assert [session.direction(each) for each in session.media] == [b"sendonly", b"inactive"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"v=0\r\nm=audio\r\n",
        b"v=0\r\nm=audio x RTP/AVP 0\r\n",
        b"v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
        b"v=0\r\nm=audio -1 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=ATM NSAP 47\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 \xe9\r\nm=audio 4000 RTP/AVP 0\r\n",
        b"v=0\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:x\r\n",
        b"v=0\r\n" + b"m=audio 4000 RTP/AVP 0\r\n" * 17,
        b"v=0\r\n" + b"a=x\r\n" * 513,
        b"v=0\r\n" + b"a" * 70_000,
    ],
)
def test_what_cannot_be_understood_is_refused(body: bytes) -> None:
    with pytest.raises(ParseError) as refused:
        sdp.parse(body)
    assert refused.value.status == 400


def exercise(body: bytes) -> None:
    """Everything the relay does with a description."""
    session = sdp.parse(body)
    assert session.render() == body
    open_bundle(session)
    for media in session.media:
        read(session, media)
        session.rtp_place(media), session.rtcp_place(media), session.held(media), media.clocks(), media.muxed
    edited = session.copy()
    redirect(edited, {i: Ports(20000, 20001) for i, m in enumerate(edited.media) if m.port and forwardable(m)}, b"::1")
    again = sdp.parse(edited.render())
    assert len(again.media) == len(session.media)


words = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"v=", b"m=", b"c=", b"a=", b"a=rtcp:", b"IN IP4 ", b" ", b"/", b"0", b"0.0.0.0", b"::1",
     b"=", b"65535", b"-1", b"99999", b"RTP/AVP", b"\x00", b"\xff", b"a=group:BUNDLE 0", b"a=inactive",
     b"a=rtpmap:0 x/0"]
)  # fmt: skip


@given(st.sampled_from(EDGES), st.lists(st.tuples(st.integers(0, 600), st.integers(0, 12), words), max_size=5))
def test_mutations_are_read_or_refused(body: bytes, cuts: list[tuple[int, int, bytes]]) -> None:
    for start, length, word in cuts:
        body = body[:start] + word + body[start + length :]
    try:
        exercise(body)
    except RemoteError:
        pass


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused(noise: bytes) -> None:
    try:
        exercise(b"v=0\r\n" + noise)
    except RemoteError:
        pass


@given(
    st.binary(max_size=300), st.sampled_from([b"multipart/mixed;boundary=b", b'multipart/x; boundary="b"', b"", None])
)
def test_noise_as_a_body_is_searched_or_refused(noise: bytes, kind: bytes | None) -> None:
    for body in (noise, b"--b\r\n" + noise + b"\r\n--b--"):
        try:
            found = bodies.find(body, kind)
        except RemoteError:
            continue
        assert found is None or 0 <= found[0] <= found[1] <= len(body)
