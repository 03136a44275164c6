"""Requests of ours on their way (RFC 3261 section 17.1, RFC 6026)."""

from __future__ import annotations

import itertools

import pytest

from sbc.sip import LocalError, Response
from sbc.sip.build import respond
from sbc.transaction import ClientTransaction, Failed, Received, Retry, State, StrayResponse, TimedOut
from tests.unit.transaction.transaction_world import World, about, request


def invited(world: World, *, reliable: bool = False, retry: Retry | None = None) -> ClientTransaction:
    hop = world.tcp if reliable else world.udp
    txn, effects = world.table.request(request(), hop, world.now, user="fork", retry=retry or Retry())
    assert world.note(effects) == []
    assert world.take_sent() == ["INVITE"]
    return txn


def asked(world: World, method: bytes = b"OPTIONS", *, reliable: bool = False) -> ClientTransaction:
    hop = world.tcp if reliable else world.udp
    txn, effects = world.table.request(request(method), hop, world.now)
    assert world.note(effects) == []
    return txn


def answer(txn: ClientTransaction, status: int, to_tag: bytes = b"b") -> Response:
    return respond(txn.request if txn._request else request(txn.method), status, to_tag=to_tag)


def statuses(effects: list[object]) -> list[int]:
    return [effect.response.status for effect in effects if isinstance(effect, Received)]


def test_an_unanswered_invite_is_repeated_with_doubling_pauses_and_given_up() -> None:
    world = World()
    txn = invited(world)
    effects = world.pass_time(40)
    assert about(world.take_times(), [0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    assert effects == [TimedOut(txn)]
    assert txn.state is State.TERMINATED
    assert len(world.table) == 0
    assert world.table.deadline() is None


def test_nothing_is_repeated_on_a_reliable_hop() -> None:
    world = World()
    txn = invited(world, reliable=True)
    assert world.pass_time(31.9) == []
    assert world.pass_time(0.2) == [TimedOut(txn)]
    assert world.take_sent() == []


def test_a_provisional_answer_ends_the_repetitions_and_starts_timer_c() -> None:
    world = World()
    txn = invited(world)
    assert statuses(world.receive(answer(txn, 100))) == [100]
    assert txn.provisional
    assert world.pass_time(170) == []
    assert statuses(world.receive(answer(txn, 180))) == [180]
    assert world.pass_time(170) == []  # 180 has restarted it
    assert statuses(world.receive(answer(txn, 100))) == [100]
    effects = world.pass_time(11)  # another 100 has not
    assert effects == [TimedOut(txn)]
    assert world.take_sent() == []


def test_after_timer_c_the_487_of_our_cancel_is_still_acknowledged() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 180))
    assert world.pass_time(181) == [TimedOut(txn)]
    assert world.note(world.table.cancel(txn, world.now)) == []
    assert world.take_sent() == ["CANCEL"]
    assert world.receive(answer(txn, 487)) == []
    assert world.take_sent() == ["ACK"]
    world.pass_time(60)
    assert len(world.table) == 0


def test_a_refusal_is_acknowledged_and_its_repetitions_too() -> None:
    world = World()
    txn = invited(world)
    effects = world.receive(answer(txn, 486))
    assert statuses(effects) == [486]
    (_, hop, ack) = world.sent[0]
    assert (hop, ack.via.branch, ack.cseq.render(), ack.to_tag) == (world.udp, b"z9hG4bK1", b"1 ACK", b"b")
    assert world.take_sent() == ["ACK"]
    world.pass_time(10)
    assert world.receive(answer(txn, 486)) == []
    assert world.take_sent() == ["ACK"]
    world.pass_time(22.2)
    assert len(world.table) == 0
    stray = world.receive(respond(request(), 486, to_tag=b"b"))
    assert [type(effect) for effect in stray] == [StrayResponse]


def test_a_refusal_on_a_reliable_hop_is_over_at_once() -> None:
    world = World()
    txn = invited(world, reliable=True)
    assert statuses(world.receive(answer(txn, 404), world.tcp)) == [404]
    assert world.take_sent() == ["ACK"]
    assert len(world.table) == 0
    world.pass_time(1)
    assert world.table.deadline() is None


def test_every_2xx_is_told_for_32_seconds() -> None:
    world = World()
    txn = invited(world)
    assert statuses(world.receive(answer(txn, 200))) == [200]
    world.pass_time(0.6)
    assert statuses(world.receive(respond(request(), 200, to_tag=b"b"))) == [200]
    assert statuses(world.receive(respond(request(), 200, to_tag=b"other-fork"))) == [200]
    assert world.receive(respond(request(), 180, to_tag=b"late")) == []
    assert world.receive(respond(request(), 486, to_tag=b"late")) == []
    world.pass_time(32)
    assert len(world.table) == 0
    assert world.take_sent() == []  # its ACKs are the user's


def test_the_request_is_let_go_when_nobody_needs_it_any_more() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 200))
    assert txn.request.method == b"INVITE"
    world.pass_time(1)
    with pytest.raises(LocalError):
        _ = txn.request


def test_the_user_is_let_go_unless_more_2xx_may_come() -> None:
    for begin, status, user in ((invited, 200, "the user"), (invited, 486, None), (asked, 200, None)):
        world = World()
        txn = begin(world)
        txn.user = "the user"
        assert statuses(world.receive(answer(txn, status))) == [status]
        world.pass_time(1)
        assert txn.user == user


def test_another_request_is_repeated_up_to_every_four_seconds() -> None:
    world = World()
    txn = asked(world)
    world.sent.clear()
    effects = world.pass_time(40)
    assert about(world.take_times(), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert effects == [TimedOut(txn)]


def test_after_a_provisional_answer_it_is_repeated_every_four_seconds() -> None:
    world = World()
    txn = asked(world)
    assert statuses(world.receive(answer(txn, 100))) == [100]
    world.sent.clear()
    world.pass_time(20)
    times = world.take_times()
    assert about(times[:1], [0.5])
    assert all(4 <= later - earlier < 4.2 for earlier, later in itertools.pairwise(times))


def test_its_first_final_answer_is_told_once() -> None:
    world = World()
    txn = asked(world)
    assert statuses(world.receive(answer(txn, 200))) == [200]
    assert world.receive(answer(txn, 200)) == []
    world.pass_time(5.1)
    assert len(world.table) == 0


def test_on_a_reliable_hop_it_is_over_with_the_answer() -> None:
    world = World()
    txn = asked(world, reliable=True)
    assert statuses(world.receive(answer(txn, 503), world.tcp)) == [503]
    assert len(world.table) == 0


def test_an_answer_matches_branch_and_method() -> None:
    world = World()
    asked(world, b"OPTIONS")
    for wrong in (request(b"OPTIONS", b"z9hG4bKother"), request(b"MESSAGE", b"z9hG4bK1")):
        effects = world.receive(respond(wrong, 200))
        assert [type(effect) for effect in effects] == [StrayResponse]


def test_a_branch_is_used_once_per_method() -> None:
    world = World()
    asked(world)
    with pytest.raises(LocalError):
        asked(world)
    with pytest.raises(LocalError):
        world.table.request(request(branch=b"z9hG4bK"), world.udp, world.now)


def test_a_lost_connection_fails_what_waits_on_it() -> None:
    world = World()
    waiting = invited(world, reliable=True)
    answered, _ = world.table.request(request(branch=b"z9hG4bK2"), world.tcp, world.now)
    elsewhere, _ = world.table.request(request(branch=b"z9hG4bK3"), world.udp, world.now)
    world.receive(answer(answered, 200), world.tcp)
    assert world.table.lost(world.tcp, world.now) == [Failed(waiting, "connection lost")]
    assert world.table.lost(world.tcp, world.now) == []
    assert (answered.state, elsewhere.state) == (State.ACCEPTED, State.CALLING)
    assert len(world.table) == 2


def test_a_cancel_before_any_answer_waits_for_one() -> None:
    world = World()
    txn = invited(world)
    assert world.note(world.table.cancel(txn, world.now, [(b"reason", b"SIP;cause=200")])) == []
    world.pass_time(2)
    assert world.take_sent() == []  # neither CANCEL nor INVITE
    assert statuses(world.receive(answer(txn, 180))) == [180]
    (_, _, cancel) = world.sent[0]
    assert (cancel.cseq.render(), cancel.first(b"reason"), cancel.via.branch) == (
        b"1 CANCEL",
        b"SIP;cause=200",
        b"z9hG4bK1",
    )
    assert world.take_sent() == ["CANCEL"]
    world.pass_time(0.6)
    assert world.take_sent() == ["CANCEL"]  # a transaction of its own, repeated
    assert world.receive(respond(request(b"CANCEL"), 200)) == []  # nobody's news
    assert statuses(world.receive(answer(txn, 487))) == [487]
    assert world.take_sent() == ["ACK"]


def test_a_cancel_that_brings_no_final_answer_times_out() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 180))
    world.note(world.table.cancel(txn, world.now))
    world.note(world.table.cancel(txn, world.now))  # once is enough
    assert world.take_sent() == ["CANCEL"]
    world.receive(respond(request(b"CANCEL"), 200))
    assert world.pass_time(40) == [TimedOut(txn)]
    assert len(world.table) == 0


def test_a_cancel_nobody_answers_is_told_once() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 180))
    world.note(world.table.cancel(txn, world.now))
    assert world.pass_time(70) == [TimedOut(txn)]
    assert len(world.table) == 0


def test_a_200_that_crosses_the_cancel_is_told() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 180))
    world.note(world.table.cancel(txn, world.now))
    assert statuses(world.receive(answer(txn, 200))) == [200]
    assert world.note(world.table.cancel(txn, world.now)) == []


def test_an_abandoned_invite_is_silent_but_for_a_2xx() -> None:
    world = World()
    txn = invited(world)
    world.table.abandon(txn, world.now)
    assert world.receive(answer(txn, 180)) == []
    assert statuses(world.receive(answer(txn, 200))) == [200]

    other = World()
    txn = invited(other)
    other.table.abandon(txn, other.now)
    assert other.pass_time(60) == []
    assert other.take_sent() == []
    assert len(other.table) == 0


def test_a_request_at_rest_is_repeated_no_more_and_its_answer_is_told() -> None:
    world = World()
    txn = asked(world, b"MESSAGE")
    world.pass_time(1.0)
    world.take_sent()
    world.table.rest(txn, world.now)
    assert world.pass_time(20.0) == []
    assert world.take_sent() == []
    assert statuses(world.receive(answer(txn, 200))) == [200]

    other = World()
    txn = asked(other, b"MESSAGE")
    other.table.rest(txn, other.now)
    assert other.pass_time(40.0) == [TimedOut(txn)]
    assert len(other.table) == 0


def test_an_abandoned_request_goes_on_in_silence() -> None:
    world = World()
    txn = asked(world)
    world.table.abandon(txn, world.now)
    assert world.receive(answer(txn, 200)) == []
    assert world.pass_time(10) == []
    assert len(world.table) == 0


def test_a_woken_phone_gets_the_invite_on_its_new_flow() -> None:
    world = World()
    txn = invited(world)
    world.pass_time(10)
    world.sent.clear()
    assert world.note(world.table.move(txn, world.tcp, world.now)) == []
    assert [(hop, message.via.branch) for _, hop, message in world.sent] == [(world.tcp, b"z9hG4bK1")]
    world.sent.clear()
    assert world.pass_time(31.9) == []  # timers start again; nothing is repeated on TCP
    assert world.take_sent() == []
    assert world.table.lost(world.tcp, world.now) == [Failed(txn, "connection lost")]


def test_a_move_renders_the_request_again() -> None:
    world = World()
    txn = invited(world)
    txn.request.set(b"via", b"SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK1")
    world.note(world.table.move(txn, world.tcp, world.now))
    assert world.sent[0][2].via.transport == b"TCP"


def test_from_tcp_to_udp_and_the_old_connection_does_not_matter() -> None:
    world = World()
    txn = invited(world, reliable=True)
    world.note(world.table.move(txn, world.udp, world.now))
    assert world.table.lost(world.tcp, world.now) == []
    world.pass_time(0.6)
    assert world.take_sent() == ["INVITE", "INVITE"]
    assert txn.hop is world.udp


def test_an_answered_request_does_not_move() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 180))
    assert world.table.move(txn, world.tcp, world.now) == []
    assert txn.hop is world.udp


def test_a_patient_retry_for_phones_that_wake() -> None:
    world = World()
    txn = invited(world, retry=Retry(interval=1.0, factor=1.5, cap=4.0, max_sends=6, give_up=40.0))
    effects = world.pass_time(39.9)
    assert effects == []
    assert about(world.take_times(), [1.0, 2.5, 4.75, 8.125, 12.125])
    assert world.pass_time(0.3) == [TimedOut(txn)]


def test_fifteen_invites_in_forty_seconds() -> None:
    world = World()
    invited(world, retry=Retry(interval=40 / 15, factor=1.0, max_sends=15, give_up=40.0))
    world.pass_time(60)
    assert len(world.take_sent()) == 14  # and the first


def test_a_2xx_after_a_refusal_is_a_stray() -> None:
    world = World()
    txn = invited(world)
    world.receive(answer(txn, 486))
    world.sent.clear()
    effects = world.receive(answer(txn, 200))
    assert [type(effect) for effect in effects] == [StrayResponse]
