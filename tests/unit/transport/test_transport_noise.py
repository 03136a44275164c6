"""Whatever bytes come, nothing raises out of the readers and nothing is kept beyond the limits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sbc.transport.codec import Heard, SipCodec
from sbc.transport.flow import Listener, OpenGate
from sbc.transport.limits import REFUSALS, Limits
from sbc.transport.proxyprotocol import SIGNATURE, Preamble
from sbc.transport.udp import UdpPort
from sbc.transport.websocket import WebSocketCodec
from tests.unit.transport.test_transport_udp import Wakeups
from tests.unit.transport.test_transport_websocket import joined, upgrade
from tests.unit.transport.transport_world import Ear, options

PIECES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"\r\n",
            b"\r\n\r\n",
            b"SIP/2.0 200 OK\r\n",
            b"Content-Length: 4\r\n\r\n",
            b"l:0\r\n\r\n",
            b"OPTIONS sip:a@b SIP/2.0\r\n",
            options(),
            upgrade(),
            SIGNATURE,
            b"\x81\x85\x00\x00\x00\x00",
            b"\x88\x80\x00\x00\x00\x00",
            b"\x82\xff" + b"\x7f" * 12,
        ]
    ),
)
STREAMS = st.lists(PIECES, max_size=8)


def listen(codec: SipCodec | WebSocketCodec, pieces: list[bytes]) -> None:
    for piece in pieces:
        heard: Heard = codec.feed(piece)
        assert heard.problem is None or heard.problem in REFUSALS
        assert all(isinstance(message, bytes) and message for message in heard.messages)
        if heard.problem or heard.bye:
            return


@settings(max_examples=60)
@given(STREAMS)
def test_streams(pieces: list[bytes]) -> None:
    listen(SipCodec(1_000), pieces)


@settings(max_examples=40)
@given(STREAMS)
def test_websockets_before_and_after_the_handshake(pieces: list[bytes]) -> None:
    listen(WebSocketCodec(1_000), pieces)
    listen(WebSocketCodec(1_000, toward=("x", "/")), pieces)
    listen(joined()[0], pieces)


@settings(max_examples=40)
@given(STREAMS)
def test_preambles(pieces: list[bytes]) -> None:
    preamble = Preamble()
    try:
        for piece in [SIGNATURE, *pieces]:
            if preamble.feed(piece) is not None:
                return
    except ValueError:
        return


@settings(max_examples=40)
@given(STREAMS)
def test_datagrams(pieces: list[bytes]) -> None:
    ear = Ear()
    port = UdpPort(Wakeups(), Listener(0, b"UDP", "127.0.0.1", 5060), ear, Limits(), OpenGate(), lambda: 0.0)
    for piece in [*pieces, b"".join(pieces)]:
        port._take(piece, port.flow("127.0.0.1", 5060))
    assert all(refusal in REFUSALS for refusal in ear.refusals)
