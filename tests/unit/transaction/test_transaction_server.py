"""Requests of others until they are done with (RFC 3261 section 17.2, RFC 6026)."""

from __future__ import annotations

import pytest

from sbc.sip import LocalError, ParseError, parse
from sbc.sip.build import ack_for, cancel_for, respond
from sbc.transaction import Ack2xx, Cancelled, NewRequest, State, Unacknowledged
from tests.unit.transaction.transaction_world import World, about, request


def test_a_new_invite_is_told_once_and_nothing_is_sent_by_itself() -> None:
    world = World()
    txn = world.asked(request())
    assert txn.invite
    assert not txn.final
    assert world.receive(request()) == []
    assert world.take_sent() == []


def test_a_repeated_invite_gets_the_latest_provisional_answer() -> None:
    world = World()
    txn = world.asked(request())
    world.answer(txn, 100)
    world.answer(txn, 183)
    assert world.receive(request()) == []
    assert world.take_sent() == ["100", "183", "183"]


def test_a_refusal_is_repeated_until_its_ack() -> None:
    world = World()
    txn = world.asked(request())
    world.answer(txn, 486)
    assert world.pass_time(8) == []
    assert about(world.take_times(), [0, 0.5, 1.5, 3.5, 7.5])
    assert world.receive(request()) == []
    assert world.take_sent() == ["486"]
    ack = ack_for(request(), respond(request(), 486, to_tag=b"b"))
    assert world.receive(ack) == []
    assert txn.state is State.CONFIRMED
    assert world.receive(ack) == []
    assert world.receive(request()) == []
    world.pass_time(5.1)
    assert world.take_sent() == []
    assert len(world.table) == 0


def test_a_refusal_nobody_acknowledges() -> None:
    world = World()
    txn = world.asked(request())
    world.answer(txn, 503)
    assert world.pass_time(33) == [Unacknowledged(txn)]
    assert about(world.take_times(), [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
    assert len(world.table) == 0


def test_on_a_reliable_hop_the_refusal_is_sent_once_and_its_ack_ends_it() -> None:
    world = World()
    txn = world.asked(request(), world.tcp)
    world.answer(txn, 486)
    world.pass_time(10)
    assert world.take_sent() == ["486"]
    assert world.receive(ack_for(request(), respond(request(), 486, to_tag=b"b")), world.tcp) == []
    assert len(world.table) == 0

    txn = world.asked(request(), world.tcp)
    world.answer(txn, 486)
    assert world.pass_time(33) == [Unacknowledged(txn)]


def test_a_2xx_is_repeated_by_its_maker_and_keeps_the_invite_away() -> None:
    world = World()
    txn = world.asked(request())
    again = respond(txn.request, 200, to_tag=b"b")
    world.answer(txn, 200)
    assert txn.state is State.ACCEPTED
    world.pass_time(5)
    assert world.receive(request()) == []
    assert world.take_sent() == ["200"]
    assert world.note(world.table.respond(txn, again, world.now)) == []
    assert world.take_sent() == ["200"]
    ack = request(b"ACK", b"z9hG4bKack")
    assert [type(effect) for effect in world.receive(ack)] == [Ack2xx]
    world.pass_time(28)
    assert len(world.table) == 0


def test_an_ack_in_accepted_is_the_users_even_with_the_same_branch() -> None:
    world = World()
    txn = world.asked(request())
    world.answer(txn, 200)
    assert [type(effect) for effect in world.receive(request(b"ACK"))] == [Ack2xx]


def test_after_a_final_answer_others_are_ignored() -> None:
    world = World()
    txn = world.asked(request())
    late = respond(txn.request, 180, to_tag=b"b")
    other = respond(txn.request, 603, to_tag=b"b")
    world.answer(txn, 486)
    world.take_sent()
    assert world.table.respond(txn, late, world.now) == []
    assert world.table.respond(txn, other, world.now) == []


def test_another_request_is_answered_again_for_32_seconds() -> None:
    world = World()
    txn = world.asked(request(b"OPTIONS"))
    assert world.receive(request(b"OPTIONS")) == []
    assert world.take_sent() == []  # nothing yet to repeat
    world.answer(txn, 200)
    world.pass_time(31)
    assert world.receive(request(b"OPTIONS")) == []
    assert world.take_sent() == ["200", "200"]
    world.pass_time(1.2)
    assert len(world.table) == 0


def test_on_a_reliable_hop_it_is_over_with_the_answer() -> None:
    world = World()
    txn = world.asked(request(b"OPTIONS"), world.tcp)
    world.answer(txn, 200)
    assert len(world.table) == 0
    world.pass_time(1)
    assert world.table.deadline() is None


def test_the_request_is_let_go() -> None:
    world = World()
    txn = world.asked(request(b"OPTIONS"))
    world.answer(txn, 200)
    assert txn.request.method == b"OPTIONS"
    world.pass_time(1)
    with pytest.raises(LocalError):
        _ = txn.request


def test_the_user_is_let_go_but_that_of_an_accepted_invite() -> None:
    world = World()
    for method, status, user in ((b"OPTIONS", 200, None), (b"INVITE", 486, None), (b"INVITE", 200, "the user")):
        txn = world.asked(request(method, branch=b"z9hG4bK%b%d" % (method, status)))
        txn.user = "the user"
        world.answer(txn, status)
        world.pass_time(1)
        assert txn.user == user


def test_a_request_its_user_forgets_is_dropped() -> None:
    world = World()
    world.asked(request())
    world.pass_time(601)
    assert len(world.table) == 0


def test_a_cancel_is_answered_and_told() -> None:
    world = World()
    txn = world.asked(request())
    world.answer(txn, 180, b"leg")
    world.take_sent()
    effects = world.receive(cancel_for(request()))
    assert [(type(effect), effect.txn) for effect in effects if isinstance(effect, Cancelled)] == [(Cancelled, txn)]
    (_, _, answer) = world.sent[0]
    assert (answer.cseq.render(), answer.to_tag) == (b"1 CANCEL", b"leg")
    assert world.take_sent() == ["200"]
    assert world.receive(cancel_for(request())) == []
    assert world.take_sent() == ["200"]
    world.answer(txn, 487, b"leg")
    assert world.take_sent() == ["487"]


def test_a_cancel_before_any_answer_has_a_tag_of_its_own() -> None:
    world = World()
    world.asked(request())
    world.receive(cancel_for(request()))
    assert world.sent[0][2].to_tag


def test_a_cancel_after_the_final_answer_changes_nothing() -> None:
    world = World()
    txn = world.asked(request())
    world.answer(txn, 200)
    world.take_sent()
    assert world.receive(cancel_for(request())) == []
    assert world.take_sent() == ["200"]
    assert txn.state is State.ACCEPTED


@pytest.mark.parametrize("branch", [b"z9hG4bKother", b"z9hG4bK"])
def test_a_cancel_of_nothing(branch: bytes) -> None:
    world = World()
    world.asked(request())
    assert world.receive(request(b"CANCEL", branch)) == []
    assert world.take_sent() == ["481"]


def test_a_cancel_from_another_sender_cancels_nothing() -> None:
    world = World()
    world.asked(request())
    forged = request(b"CANCEL")
    forged.set(b"via", b"SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bK1")
    assert world.receive(forged) == []
    assert world.take_sent() == ["481"]


def test_a_cancel_of_another_method_is_answered_481() -> None:
    world = World()
    world.asked(request(b"OPTIONS"))
    assert world.receive(request(b"CANCEL")) == []
    assert world.take_sent() == ["481"]


def test_hosts_compare_without_case_and_ports_exactly() -> None:
    world = World()
    one = request(via=b"SIP/2.0/UDP Phone.example.com;branch=z9hG4bK1")
    world.asked(one)
    assert world.receive(request(via=b"SIP/2.0/UDP phone.EXAMPLE.com;branch=z9hG4bK1")) == []
    world.asked(request(via=b"SIP/2.0/UDP phone.example.com:5060;branch=z9hG4bK1"))


def test_what_the_border_writes_into_the_via_does_not_change_the_match() -> None:
    world = World()
    message = parse(request(via=b"SIP/2.0/UDP 10.0.0.1;branch=old").render())
    (effect,) = world.table.receive(message, world.udp, world.now)
    assert isinstance(effect, NewRequest)
    message.set_top(b"via", b"SIP/2.0/UDP 10.0.0.1;branch=old;received=192.0.2.1")
    assert world.receive(request(via=b"SIP/2.0/UDP 10.0.0.1;branch=old")) == []


def test_an_invite_of_rfc_2543_is_matched_without_a_branch() -> None:
    world = World()
    old = request(via=b"SIP/2.0/UDP 10.0.0.1")
    txn = world.asked(old)
    assert world.receive(old) == []
    other = request(via=b"SIP/2.0/UDP 10.0.0.1", call_id=b"call-2")
    assert world.asked(other) is not txn
    assert [type(effect) for effect in world.receive(cancel_for(old))] == [Cancelled]
    world.answer(txn, 487)
    world.take_sent()
    assert world.receive(ack_for(old, respond(old, 487, to_tag=b"b"))) == []
    assert txn.state is State.CONFIRMED


def test_above_the_limit_new_requests_are_refused() -> None:
    world = World(limit=2)
    world.asked(request(branch=b"z9hG4bK1"))
    first = world.asked(request(b"OPTIONS", branch=b"z9hG4bK2"))
    assert world.receive(request(branch=b"z9hG4bK3")) == []
    (_, _, refusal) = world.sent[0]
    assert refusal.has(b"retry-after")
    assert refusal.to_tag
    assert world.take_sent() == ["503"]
    world.receive(request(branch=b"z9hG4bK3"))
    assert world.sent[0][2].to_tag == refusal.to_tag  # without state, yet the same
    world.take_sent()
    assert world.receive(request(b"OPTIONS", branch=b"z9hG4bK2")) == []  # known ones go on
    world.answer(first, 200)
    world.pass_time(33)
    world.asked(request(branch=b"z9hG4bK3"))


def test_above_the_limit_a_call_can_still_be_cancelled() -> None:
    world = World(limit=1)
    world.asked(request())
    assert [type(effect) for effect in world.receive(cancel_for(request()))] == [Cancelled]
    assert world.receive(request(b"CANCEL", b"z9hG4bKother")) == []
    assert world.take_sent() == ["200", "503"]


def test_an_ack_for_nothing_is_told() -> None:
    world = World()
    assert [type(effect) for effect in world.receive(request(b"ACK"))] == [Ack2xx]


def test_an_unreadable_via_is_a_parse_error() -> None:
    world = World()
    with pytest.raises(ParseError):
        world.receive(request(via=b"nonsense"))
    broken = respond(request(), 200)
    broken.set(b"cseq", b"x")
    with pytest.raises(ParseError):
        world.receive(broken)
    assert len(world.table) == 0
