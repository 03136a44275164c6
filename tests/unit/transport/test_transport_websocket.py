"""SIP over WebSocket, both ends in memory."""

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from sbc.transport.limits import BAD_HANDSHAKE, BROKEN_FRAMING, NOT_SIP, OVERSIZED
from sbc.transport.websocket import WebSocketCodec
from tests.unit.transport.transport_world import options

LIMIT = 65_000


def upgrade(*, path: str = "/", subprotocol: str | None = "sip", extra: bytes = b"") -> bytes:
    protocol = b"" if subprotocol is None else b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode()
    return (
        b"GET %b HTTP/1.1\r\nHost: sbc.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"%b%b\r\n" % (path.encode(), protocol, extra)
    )


def joined(**server: object) -> tuple[WebSocketCodec, WSConnection]:
    """A server codec and a client of another make, shaken hands."""
    codec = WebSocketCodec(LIMIT, **server)  # type: ignore[arg-type]
    client = WSConnection(ConnectionType.CLIENT)
    heard = codec.feed(client.send(Request(host="sbc.example.com", target="/", subprotocols=["sip", "other"])))
    client.receive_data(heard.reply)
    assert next(client.events()) == AcceptConnection(subprotocol="sip", extra_headers=[])
    assert codec.ready
    return codec, client


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def test_the_sip_subprotocol_is_chosen() -> None:
    heard = WebSocketCodec(LIMIT).feed(upgrade(subprotocol="other, sip"))
    assert status(heard.reply) == 101
    assert b"sec-websocket-protocol: sip\r\n" in heard.reply.lower()
    assert heard.problem is None


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (upgrade(subprotocol=None), 400),
        (upgrade(subprotocol="mqtt"), 400),
        (upgrade(path="/elsewhere"), 404),
        (upgrade(extra=b"Origin: https://evil.example\r\n"), 403),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 400),
        (upgrade().replace(b"Version: 13", b"Version: 8"), 426),
    ],
)
def test_other_requests_are_refused_with_a_status(request_: bytes, code: int) -> None:
    codec = WebSocketCodec(LIMIT, origins=("https://phone.example.com",))
    heard = codec.feed(request_)
    assert status(heard.reply) == code
    assert heard.problem == BAD_HANDSHAKE
    assert not codec.ready


def test_a_listed_origin_and_none_at_all_are_let_in() -> None:
    for extra in (b"Origin: https://Phone.example.com\r\n", b""):
        heard = WebSocketCodec(LIMIT, origins=("https://phone.example.com/",)).feed(upgrade(extra=extra))
        assert status(heard.reply) == 101


def test_no_compression_is_negotiated() -> None:
    heard = WebSocketCodec(LIMIT).feed(upgrade(extra=b"Sec-WebSocket-Extensions: permessage-deflate\r\n"))
    assert status(heard.reply) == 101
    assert b"extensions" not in heard.reply.lower()


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00", b"\0" * 100, upgrade().replace(b"sbc.ex", b"\xff\xfe.ex")])
def test_noise_in_place_of_a_handshake_is_a_problem_not_a_crash(noise: bytes) -> None:
    assert WebSocketCodec(LIMIT).feed(noise + b"\r\n\r\n").problem == BAD_HANDSHAKE


def test_an_endless_handshake_is_cut() -> None:
    codec = WebSocketCodec(LIMIT)
    for _ in range(20):
        heard = codec.feed(b"GET / HTTP/1.1\r\n" if not _ else b"X: " + b"y" * 1_000 + b"\r\n")
        if heard.problem:
            break
    assert heard.problem == BAD_HANDSHAKE


def test_text_and_binary_messages_in_any_number_of_frames() -> None:
    codec, client = joined()
    stream = (
        client.send(TextMessage(options(1).decode()))
        + client.send(BytesMessage(options(2)))
        + client.send(TextMessage(options(3)[:10].decode(), message_finished=False))
        + client.send(TextMessage(options(3)[10:].decode()))
    )
    for cut in range(1, len(stream), 7):
        fresh, _ = joined()
        found = fresh.feed(stream[:cut]).messages + fresh.feed(stream[cut:]).messages
        assert found == [options(1), options(2), options(3)]
    codec.feed(stream[:5])
    assert codec.partial
    codec.feed(stream[5:])
    assert not codec.partial


def test_what_is_sent_is_text_where_it_can_be() -> None:
    codec, client = joined()
    client.receive_data(codec.wrap(options(1)) + codec.wrap(options(2, b"\xff\xfe")))
    assert [type(event) for event in client.events()] == [TextMessage, BytesMessage]


def test_a_message_over_the_cap_closes_with_1009() -> None:
    codec, client = joined()
    heard = codec.feed(client.send(BytesMessage(bytes(LIMIT + 1))))
    assert heard.problem == OVERSIZED
    client.receive_data(heard.reply)
    closing = next(client.events())
    assert isinstance(closing, CloseConnection)
    assert closing.code == 1009


def test_a_message_over_the_cap_in_many_frames_is_cut_on_the_way() -> None:
    codec, client = joined()
    size = 0
    while True:
        heard = codec.feed(client.send(BytesMessage(bytes(1_000), message_finished=False)))
        size += 1_000
        if heard.problem:
            break
    assert heard.problem == OVERSIZED
    assert size <= LIMIT + 1_000


def test_frames_without_end_or_content_are_cut() -> None:
    for frames in (
        client_frames(0x01, 0x00, count=5_000),  # a message of empty pieces that never ends
        client_frames(0x89, 0x89, count=5_000),  # pings
        client_frames(0x8A, 0x8A, count=5_000),  # pongs of nothing
    ):
        codec, _ = joined()
        heard = codec.feed(frames)
        assert heard.problem == BROKEN_FRAMING
        assert heard.reply == b"\x88\x02" + (1008).to_bytes(2, "big")


def test_empty_pieces_are_not_kept_and_the_message_is_partial_all_the_same() -> None:
    codec, _ = joined()
    codec.feed(client_frames(0x01, 0x00, count=500))
    assert codec.partial
    assert not codec._parts


def client_frames(first: int, others: int, *, count: int) -> bytes:
    """Frames of a client without content."""
    return bytes([first, 0x80, 0, 0, 0, 0]) + bytes([others, 0x80, 0, 0, 0, 0]) * (count - 1)


def test_not_sip_in_a_frame() -> None:
    codec, client = joined()
    assert codec.feed(client.send(TextMessage('{"jsonrpc": "2.0"}'))).problem == NOT_SIP


def test_line_ends_as_over_tcp_are_answered() -> None:
    codec, client = joined()
    heard = codec.feed(client.send(TextMessage("\r\n\r\n")))
    assert heard.keep_alive
    client.receive_data(heard.reply)
    pong = next(client.events())
    assert isinstance(pong, TextMessage)
    assert pong.data == "\r\n"


def test_ping_and_close_are_answered() -> None:
    codec, client = joined()
    heard = codec.feed(b"\x89\x82\x00\x00\x00\x00hi")
    assert heard.reply == b"\x8a\x02hi"
    heard = codec.feed(client.send(CloseConnection(1000)))
    assert heard.bye
    assert heard.reply[:1] == b"\x88"


def test_an_unmasked_frame_is_a_broken_one() -> None:
    codec, _ = joined()
    heard = codec.feed(b"\x81\x02hi")
    assert heard.problem == BROKEN_FRAMING
    assert heard.reply[2:4] == (1002).to_bytes(2, "big")


def test_text_that_is_not_utf8_is_a_broken_frame() -> None:
    codec, _ = joined()
    assert codec.feed(b"\x81\x82\x00\x00\x00\x00\xff\xfe").problem == BROKEN_FRAMING


def test_both_ends_of_our_own() -> None:
    server, client = WebSocketCodec(LIMIT), WebSocketCodec(LIMIT, toward=("sbc.example.com:8080", "/"))
    reply = server.feed(client.greet()).reply
    assert client.feed(reply).problem is None
    assert client.ready
    assert server.feed(client.wrap(options(1))).messages == [options(1)]
    assert client.feed(server.wrap(options(2))).messages == [options(2)]
    assert client.feed(server.farewell()).bye


def test_a_server_without_sip_is_no_server() -> None:
    client = WebSocketCodec(LIMIT, toward=("sbc.example.com", "/"))
    client.greet()
    assert client.feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").problem == BAD_HANDSHAKE
