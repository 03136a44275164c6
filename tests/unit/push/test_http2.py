"""The HTTP/2 connection and its origin, against a real h2 server in memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from h2.connection import ConnectionState
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from sbc.push.connect import Place
from sbc.push.exchange import LostError
from sbc.push.http2 import LINGER, PING_AFTER, PONG_WITHIN, SETTINGS_WITHIN
from sbc.push.origins import MAX_WAITING, OVERFLOW, TIMED_OUT, Origin
from sbc.push.waiting import CALL, OTHER
from sbc.push.wire import MAX_ANSWER, Answer, Post
from tests.unit.push.doubles import EvenRandom, Net

POST = Post(b"/3/device/1", [(b"apns-topic", b"a")], b'{"aps":{}}')


class World:
    """An origin, the servers it connects to, and the answers it got."""

    def __init__(
        self, respond: Any = lambda headers, body: (200, {}, b""), settings: Any = None, **options: Any
    ) -> None:
        self.clock = Clock()
        self.net = Net(respond, settings)
        self.origin = Origin(
            self.clock,
            self.net,
            Place(True, "api.push.test", 443),
            random=EvenRandom(),
            **options,  # type: ignore[arg-type]
        )
        self.answers: list[Answer | LostError] = []
        self.origin.start()

    def post(self, post: Post = POST, rank: int = CALL, within: float = 5.0) -> Any:
        exchange = self.origin.post(post, rank, within, self.answers.append)
        self.net.run()
        return exchange

    @property
    def statuses(self) -> list[int]:
        return [answer.status if isinstance(answer, Answer) else -1 for answer in self.answers]

    def reasons(self) -> list[str]:
        return [answer.reason for answer in self.answers if isinstance(answer, LostError)]


def test_a_request_and_its_answer() -> None:
    world = World(lambda headers, body: (410, {"apns-id": "X", "retry-after": "1"}, b'{"reason":"Unregistered"}'))
    assert world.net.clients[0].no_delay
    world.post()
    answer = world.answers[0]
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (410, b'{"reason":"Unregistered"}')
    assert answer.headers[b"apns-id"] == b"X"
    _, headers, body = world.net.server.requests[0]
    assert list(headers)[:4] == [":method", ":scheme", ":authority", ":path"]
    assert (headers[":authority"], headers[":path"], headers["apns-topic"]) == ("api.push.test", "/3/device/1", "a")
    assert headers["content-length"] == str(len(POST.body))
    assert body == POST.body
    assert "PriorityUpdated" not in world.net.server.frames


def test_a_push_without_body_ends_with_its_headers() -> None:
    world = World()
    world.post(Post(b"/x", [], b""))
    assert world.statuses == [200]


def test_connected_before_the_first_request_and_only_once() -> None:
    world = World()
    world.net.run()
    assert world.origin.connected
    for _ in range(50):
        world.post()
    assert len(world.net.servers) == 1
    assert world.statuses == [200] * 50


def test_max_concurrent_streams_is_obeyed_and_the_rest_waits_in_order() -> None:
    world = World(lambda headers, body: None, {SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    world.net.run()
    for path in (b"/1", b"/2", b"/refresh", b"/call"):
        world.post(Post(path, [], b"x"), OTHER if path == b"/refresh" else CALL)
    server = world.net.server
    assert [headers[":path"] for _, headers, _ in server.requests] == ["/1", "/2"]
    server.answer(server.requests[0][0], 200, {}, b"")
    world.net.run()
    assert server.requests[-1][1][":path"] == "/call"
    server.answer(server.requests[1][0], 200, {}, b"")
    world.net.run()
    assert server.requests[-1][1][":path"] == "/refresh"


def test_one_stream_until_the_server_allows_more() -> None:
    world = World(lambda headers, body: None, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    for _ in range(5):
        world.post()
    server = world.net.server
    assert len(server.requests) == 1
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
    server.flush()
    world.net.run()
    assert len(server.requests) == 5


def test_bodies_flow_in_pieces_when_the_window_is_small() -> None:
    world = World(settings={SettingCodes.INITIAL_WINDOW_SIZE: 10})
    world.net.run()
    world.post(Post(b"/x", [], b"0123456789" * 30))
    world.post(Post(b"/y", [], b"abc" * 20))
    assert [body for _, _, body in world.net.server.requests] == [b"0123456789" * 30, b"abc" * 20]
    assert world.statuses == [200, 200]


def test_more_bytes_than_the_connection_s_window_holds() -> None:
    world = World()
    world.net.run()
    for _ in range(40):
        world.origin.post(Post(b"/x", [], b"x" * 5000), CALL, 5.0, world.answers.append)
    world.net.run()
    assert world.statuses == [200] * 40


def test_goaway_moves_untouched_requests_and_waits_for_the_others() -> None:
    world = World()
    world.post()
    server = world.net.server
    server.respond = lambda headers, body: None
    for _ in range(3):
        world.post()
    server.goaway(last=5)
    world.net.run()
    assert world.statuses == [200, -1]
    assert not world.answers[1].processed  # type: ignore[union-attr]
    assert len(world.net.servers) == 2, "a new connection at once"
    server.answer(3, 200, {}, b"")
    server.answer(5, 200, {}, b"")
    world.net.run()
    assert world.statuses == [200, -1, 200, 200]
    assert server.ended
    world.post()
    assert len(world.net.server.requests) == 1


def test_a_connection_that_lingers_after_goaway_is_closed() -> None:
    world = World(lambda headers, body: None)
    world.post(within=10.0)
    world.net.server.goaway(last=1)
    world.net.run()
    world.clock.advance(LINGER)
    world.net.run()
    assert "GOAWAY" in world.reasons()[0]
    assert world.answers[0].processed  # type: ignore[union-attr]


def test_a_refused_stream_was_not_processed_a_reset_one_may_have_been() -> None:
    world = World(lambda headers, body: None)
    world.net.run()
    world.post()
    world.post()
    world.net.server.reset(1, ErrorCodes.REFUSED_STREAM)
    world.net.server.reset(3, ErrorCodes.INTERNAL_ERROR)
    world.net.run()
    assert [answer.processed for answer in world.answers] == [False, True]  # type: ignore[union-attr]


def test_an_idle_connection_is_pinged_and_replaced_when_it_is_dead() -> None:
    world = World()
    world.net.run()
    world.clock.advance(PING_AFTER)
    world.net.run()
    assert world.net.server.pings == 1
    world.clock.pump([PONG_WITHIN] * 3)
    assert len(world.net.servers) == 1, "the answer came"
    world.net.clients[0].peer.deaf = True
    world.clock.advance(PING_AFTER)
    world.net.run()
    world.clock.advance(PONG_WITHIN)
    world.net.run()
    world.clock.advance(1)
    world.net.run()
    assert len(world.net.servers) == 2
    world.post()
    assert world.statuses == [200]


def test_silence_is_a_lost_request_and_makes_the_connection_suspect() -> None:
    world = World(lambda headers, body: None)
    world.net.run()
    world.net.clients[0].peer.deaf = True
    world.post(within=3.0)
    world.clock.advance(3.0)
    world.net.run()
    assert world.reasons() == [TIMED_OUT]
    world.clock.advance(PONG_WITHIN)
    world.net.run()
    world.clock.advance(1)
    world.net.run()
    assert len(world.net.servers) == 2


def test_a_server_that_never_says_settings_is_given_up() -> None:
    world = World()
    world.net.run()
    world.net.silent = True
    world.net.clients[0].peer.loseConnection()
    world.net.run()
    world.clock.advance(1)
    assert len(world.net.servers) == 2
    world.post(within=20.0)
    world.clock.advance(SETTINGS_WITHIN)
    world.net.run()
    assert "no answer to the connection's start" in world.reasons()[0]


def test_refused_connections_are_tried_again_with_a_growing_pause() -> None:
    world = World()
    world.net.run()
    world.net.refuse = 4
    world.net.clients[0].peer.loseConnection()
    world.net.run()
    at = []
    for _ in range(100):
        before = len(world.net.attempts)
        world.clock.advance(0.1)
        if len(world.net.attempts) > before:
            at.append(round(world.clock.seconds(), 1))
    pauses = [round(late - early, 1) for early, late in pairwise(at)]
    assert pauses == pytest.approx([0.4, 0.8, 1.6, 3.2], abs=0.11)
    world.net.run()
    assert world.origin.connected


def test_waiting_requests_hear_of_a_refused_connection_at_once() -> None:
    world = World()
    world.net.run()
    world.net.refuse = 9
    world.net.clients[0].peer.loseConnection()
    world.net.run()
    world.post()
    assert world.answers == []
    world.clock.advance(0.2)
    assert "refused" in world.reasons()[0]
    assert not world.answers[0].processed  # type: ignore[union-attr]


def test_the_queue_is_bounded() -> None:
    world = World(lambda headers, body: None, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    world.net.run()
    for _ in range(MAX_WAITING + 2):
        world.origin.post(POST, OTHER, 5.0, world.answers.append)
    assert world.reasons() == [OVERFLOW]
    world.origin.post(POST, CALL, 5.0, world.answers.append)
    assert world.reasons() == [OVERFLOW] * 2
    assert world.origin.waiting == MAX_WAITING


def test_long_answers_are_cut() -> None:
    world = World(lambda headers, body: (400, {}, b"x" * 16_000))
    world.post()
    server = world.net.server
    server.respond = lambda headers, body: None
    world.post()
    stream = server.requests[-1][0]
    server.h2.send_headers(stream, [(":status", "400")])
    for _ in range(3):
        server.h2.send_data(stream, b"y" * 16_000)
    server.h2.end_stream(stream)
    server.flush()
    world.net.run()
    assert [len(answer.body) for answer in world.answers if isinstance(answer, Answer)] == [16_000, MAX_ANSWER]


@pytest.mark.parametrize(
    "garbage",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 200, b"\xff" * 50, b"\x00\x00\x05\x01\x04\x00\x00\x00\x01abcde"],
)
def test_garbage_ends_the_connection_not_the_process(garbage: bytes) -> None:
    world = World(lambda headers, body: None)
    world.post()
    world.net.clients[0].peer.out += garbage
    world.net.run()
    world.clock.advance(1)
    world.net.run()
    assert world.statuses == [-1]
    assert len(world.net.servers) == 2


def test_bytes_one_at_a_time() -> None:
    world = World(lambda headers, body: (200, {"apns-id": "x"}, b"body"))
    world.net.run()
    client = world.net.clients[0]
    whole = client.protocol.dataReceived

    def crumbs(data: bytes) -> None:
        for index in range(len(data)):
            whole(data[index : index + 1])

    client.protocol.dataReceived = crumbs  # type: ignore[method-assign]
    world.post()
    assert world.statuses == [200]


def test_stop_closes_and_reports() -> None:
    world = World(lambda headers, body: None, {SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    world.net.run()
    world.post(within=10.0)
    world.post(within=10.0)
    world.origin.stop()
    world.net.run()
    world.clock.advance(LINGER)
    world.net.run()
    assert world.reasons() == ["shutting down"] * 2
    world.clock.advance(100)
    assert len(world.net.servers) == 1
    assert world.clock.getDelayedCalls() == []


def test_an_origin_that_is_not_kept_warm_closes_when_idle() -> None:
    world = World(warm=False)
    assert world.net.servers == []
    world.post()
    assert world.statuses == [200]
    world.clock.advance(60)
    world.net.run()
    assert world.net.server.ended
    world.clock.advance(600)
    assert len(world.net.servers) == 1
    world.post()
    assert world.statuses == [200, 200]


def test_a_server_that_sends_everybody_away_is_not_stormed() -> None:
    world = World()
    world.net.run()
    world.post()
    for _ in range(3):
        world.net.server.goaway(last=0)
        world.net.run()
    assert len(world.net.servers) == 2, "the first had been of use"
    world.clock.advance(0.2)
    assert len(world.net.servers) == 3


def test_waiting_requests_move_to_the_next_connection_when_a_good_one_breaks() -> None:
    world = World(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    world.post()
    world.net.server.respond = lambda headers, body: None
    for _ in range(3):
        world.post()
    world.net.clients[0].peer.abortConnection()
    world.net.run()
    assert world.statuses == [200, -1, 200, 200], "one was lost with the connection"


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=30)), max_size=8)
)
def test_frames_of_any_kind_end_at_most_the_connection(frames: list[tuple[int, int, int, bytes]]) -> None:
    world = World(lambda headers, body: None)
    world.post(within=5.0)
    for kind, flags, stream, payload in frames:
        head = len(payload).to_bytes(3, "big") + bytes((kind % 12, flags)) + stream.to_bytes(4, "big")
        world.net.clients[0].peer.out += head + payload
        world.net.run()
    world.clock.advance(5.0)
    world.net.run()
    assert len(world.answers) == 1


def test_an_error_of_our_own_ends_the_connection_not_the_caller() -> None:
    world = World()
    world.net.run()
    world.net.clients[0].protocol._h2.state_machine.state = ConnectionState.CLOSED  # type: ignore[attr-defined]
    world.post()
    assert not world.answers[0].processed  # type: ignore[union-attr]
    world.clock.advance(1)
    world.net.run()
    world.post()
    assert world.statuses == [-1, 200]
