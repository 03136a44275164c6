"""What a node that was killed knows again of its dialogs, and when."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from sbc.proxy.keeping import CSEQ_LEAP
from sbc.proxy.lasting import READ_WITHIN, SETTLE
from sbc.proxy.session_timer import GRACE
from sbc.sip.message import parse
from sbc.store.journal import RemoveDialog, SaveDialog
from tests.unit.proxy.node_world import BODY, CONTACT, World, answer_to, message

INVITE = message(b"INVITE sip:bob@example.com SIP/2.0", b"INVITE", CONTACT, b"Supported: timer")


class Kept:
    """The store as far as dialogs are concerned: `rows` is what would be on disk."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.written = 0
        self.reading: Deferred[Any] | None = None

    def write(self, operation: Any) -> Deferred[Any]:
        if isinstance(operation, SaveDialog):
            self.rows[operation.dialog.id] = operation.dialog
            self.written += 1
        elif isinstance(operation, RemoveDialog):
            self.rows.pop(operation.id, None)
        return succeed(None)

    def report(self, query: Any) -> Deferred[Any]:
        return self.reading or succeed(list(self.rows.values()))


@pytest.fixture
def disk():
    return Kept()


@pytest.fixture
def start(disk, tmp_path):
    """A node that finds what one before it left."""

    def begin() -> World:
        world = World(str(tmp_path), monotonic=True)
        world.node.lasting.write, world.node.store.report = disk.write, disk.report
        world.restored = world.node.lasting.restore(world.node.calls.terms.resume)
        return world

    return begin


def talk(world: World, expires: bytes = b"", number: int = 1) -> None:
    """The phone calls, the server answers, the phone acknowledges."""
    invite = INVITE.replace(b"c1@h", b"c%d@h" % number).replace(b"z9hG4bK1", b"z9hG4bK%d" % number)
    world.arrive(invite, world.phone)
    answer = answer_to(world.upper.out[-1], b"200 OK")
    if expires:
        answer = answer.replace(b"Record-Route", b"Session-Expires: " + expires + b"\r\nRecord-Route")
    world.arrive(answer, world.upper)
    world.contact = parse(world.phone.out[-1]).contacts[0].uri.render()


def inside(method: bytes, contact: bytes, number: int = 1, *more: bytes) -> bytes:
    text = message(method + b" " + contact + b" SIP/2.0", method, *more, tag=b";tag=b", number=number)
    return text.replace(b"c%d@h" % number, b"c1@h")


def sent(flow: Any, method: bytes) -> list[Any]:
    return [parse(data) for data in flow.out if data.startswith(method)]


def test_a_dialog_is_written_with_its_answer_and_again_only_when_it_changed(start, disk):
    world = start()
    talk(world)
    assert disk.written == 1
    world.node.lasting.settle()
    world.node.lasting.settle()
    assert disk.written == 1, "nothing new"
    moved = inside(b"UPDATE", world.contact, 7, b"Contact: <sip:ada@198.51.100.99>")
    world.arrive(moved, world.phone)
    world.node.lasting.settle()
    world.node.lasting.settle()
    assert disk.written == 2
    assert "198.51.100.99" in next(iter(disk.rows.values())).body
    assert 2 * SETTLE < 5


def test_what_follows_of_a_2xx_inside_is_written(start, disk):
    world = start()
    talk(world, b"1800")
    again = inside(b"INVITE", world.contact, 8, CONTACT)
    world.arrive(again, world.phone)
    answer = answer_to(world.upper.out[-1], b"200 OK")
    world.arrive(
        answer.replace(b"192.0.2.77>", b"192.0.2.78>").replace(b"Record-Route", b"Session-Expires: 90\r\nRecord-Route"),
        world.upper,
    )
    for _ in range(2):
        world.node.lasting.settle()
    after = start()
    [leg] = after.node.calls.dialogs.all()
    [dialog] = leg.dialogs.values()
    assert dialog.b.target == b"sip:bob@192.0.2.78"
    assert dialog.dead_at == pytest.approx(after.clock.seconds() + 90 + GRACE, abs=1)


def test_a_request_finds_its_dialog_after_a_crash(start, disk):
    talk(before := start())
    world = start()
    world.arrive(inside(b"INFO", before.contact, 5), world.phone)
    [info] = sent(world.upper, b"INFO")
    assert info.uri == b"sip:bob@192.0.2.77"
    assert info.routes[0].uri.host == b"192.0.2.10"


def test_requests_wait_until_the_dialogs_are_read_back(start, disk):
    talk(before := start())
    disk.reading = Deferred()
    world = start()
    world.arrive(inside(b"INFO", before.contact, 5), world.phone)
    world.arrive(inside(b"ACK", before.contact), world.phone)
    assert (world.phone.out, world.upper.out) == ([], [])
    disk.reading.callback(list(disk.rows.values()))
    assert len(sent(world.upper, b"INFO")) == 1
    assert len(sent(world.upper, b"ACK")) == 1
    world.arrive(inside(b"INFO", b"sip:0123456789abcdef0123@192.0.2.1", 6), world.phone)
    assert parse(world.phone.out[-1]).status == 481, "and nothing waits any more"


def test_no_request_waits_for_ever_and_none_ends_its_dialog(start, disk):
    talk(before := start())
    disk.reading = Deferred()
    world = start()
    world.arrive(inside(b"INFO", before.contact, 5), world.phone)
    world.clock.advance(READ_WITHIN + 0.1)
    assert parse(world.phone.out[-1]).status == 500
    disk.reading.callback(list(disk.rows.values()))
    world.arrive(inside(b"INFO", before.contact, 6), world.phone)
    assert len(sent(world.upper, b"INFO")) == 1


def test_a_call_that_nobody_refreshes_is_ended_on_both_sides_after_a_crash(start, disk):
    before = start()
    talk(before, b"90")
    before.arrive(inside(b"INFO", before.contact, 30), before.phone)
    world = start()
    world.clock.advance(90.0 + GRACE - 1)
    world.node.calls.terms.watch()
    assert not sent(world.upper, b"BYE")
    world.clock.advance(3.0)
    world.node.calls.terms.watch()
    [up], [down] = sent(world.upper, b"BYE"), sent(world.phone, b"BYE")
    assert (up.uri, up.from_tag, up.to_tag, up.call_id) == (b"sip:bob@192.0.2.77", b"a1", b"b", b"c1@h")
    assert (down.from_tag, down.to_tag, down.call_id) == (b"b", b"a1", b"c1@h")
    assert up.cseq.number > 30, "a higher number than that of the INFO, which is in no row"
    assert up.cseq.number >= CSEQ_LEAP
    assert disk.rows == {}
    assert world.node.call_log._ended[-1].reason == "session timer"


def test_a_refresh_after_the_crash_keeps_the_call(start, disk):
    talk(before := start(), b"90")
    world = start()
    world.clock.advance(80.0)
    world.arrive(inside(b"UPDATE", before.contact, 9, CONTACT), world.phone)
    answer = answer_to(world.upper.out[-1], b"200 OK")
    world.arrive(answer.replace(b"Record-Route", b"Session-Expires: 90\r\nRecord-Route"), world.upper)
    world.clock.advance(90.0)
    world.node.calls.terms.watch()
    assert not sent(world.upper, b"BYE")
    world.clock.advance(GRACE + 1)
    world.node.calls.terms.watch()
    assert len(sent(world.upper, b"BYE")) == 1


def test_an_answer_that_comes_again_after_the_crash_is_acknowledged(start, disk):
    before = start()
    talk(before)
    again = answer_to(sent(before.upper, b"INVITE")[0].render(), b"200 OK")
    world = start()
    world.arrive(again, world.upper)
    [ack] = sent(world.upper, b"ACK")
    assert (ack.uri, ack.cseq.number, ack.to_tag) == (b"sip:bob@192.0.2.77", 1, b"b")
    world.arrive(again.replace(b"tag=b\r", b"tag=other\r"), world.upper)
    assert len(sent(world.upper, b"ACK")) == 1
    assert world.phone.out == []


def turned(request: Any) -> bytes:
    """The 200 of the party that a request was sent to; its tags are the dialog's."""
    lines = [b"SIP/2.0 200 OK", *(b"Via: " + via for via in request.lines(b"via"))]
    lines += [name + b": " + (request.first(name.lower()) or b"") for name in (b"From", b"To", b"Call-ID", b"CSeq")]
    lines += [
        b"Contact: <sip:there@198.51.100.44>",
        b"Content-Type: application/sdp",
        b"Content-Length: %d" % len(BODY),
    ]
    return b"\r\n".join([*lines, b"", BODY])


def test_the_answer_to_a_re_invite_goes_on_after_the_crash_until_it_is_acknowledged(start, disk):
    talk(before := start())
    sdp = [CONTACT, b"Content-Type: application/sdp"]
    again = message(b"INVITE " + before.contact + b" SIP/2.0", b"INVITE", *sdp, tag=b";tag=b", number=8, body=BODY)
    again = again.replace(b"c8@h", b"c1@h")
    before.arrive(again, before.phone)
    asked = sent(before.upper, b"INVITE")[-1]
    world = start()
    for _ in range(2):
        world.arrive(turned(asked), world.upper)
    heard = [parse(data) for data in world.phone.out]
    assert [(each.status, each.cseq.number, each.via.branch) for each in heard] == [
        (200, 8, parse(again).via.branch)
    ] * 2
    assert heard[0].contacts[0].uri.user == parse(again).parsed_uri.user, "our Contact, not the peer's"
    assert sent(world.upper, b"ACK") == [], "its sender acknowledges it"
    world.arrive(inside(b"ACK", before.contact, 8), world.phone)
    assert [ack.cseq.number for ack in sent(world.upper, b"ACK")] == [8]
    world.arrive(turned(asked), world.upper)
    assert len(heard) == len(world.phone.out)


def test_the_same_for_a_re_invite_of_the_called_side(start, disk):
    talk(before := start())
    contact = parse(before.upper.out[0]).contacts[0].uri.render()
    again = message(b"INVITE " + contact + b" SIP/2.0", b"INVITE", CONTACT, number=3).replace(b"c3@h", b"c1@h")
    again = again.replace(b'"Ada, \\"x\\"" <sip:ada@example.com>;tag=a1', b"<sip:bob@example.com>;tag=b")
    again = again.replace(b"To: <sip:bob@example.com>", b"To: <sip:ada@example.com>;tag=a1")
    before.arrive(again, before.upper)
    asked = sent(before.phone, b"INVITE")[-1]
    world = start()
    world.arrive(turned(asked), world.phone)
    [answer] = [parse(data) for data in world.upper.out]
    assert (answer.status, answer.cseq.number, answer.to_tag) == (200, 3, b"a1")


def test_a_re_invite_that_is_answered_leaves_nothing_to_bring(start, disk):
    talk(before := start())
    before.arrive(inside(b"INVITE", before.contact, 8, CONTACT), before.phone)
    asked = sent(before.upper, b"INVITE")[-1]
    assert '"unfinished"' in next(iter(disk.rows.values())).body, "at once: the node may die in this moment"
    before.arrive(turned(asked), before.upper)
    for _ in range(2):
        before.node.lasting.settle()
    assert '"unfinished"' not in next(iter(disk.rows.values())).body
    world = start()
    world.arrive(turned(asked), world.upper)
    assert world.phone.out == []
    assert [ack.cseq.number for ack in sent(world.upper, b"ACK")] == [8]


def test_two_answers_of_one_call_share_its_leg_again(start, disk):
    world = start()
    world.arrive(INVITE, world.phone)
    first = answer_to(world.upper.out[-1], b"200 OK")
    world.arrive(first, world.upper)
    [leg] = world.node.calls.dialogs.all()
    [dialog] = leg.dialogs.values()
    row = disk.rows.popitem()[1]
    body = row.body.replace('"tag_b":"b"', '"tag_b":"other"')
    disk.rows = {"1": row, "2": type(row)(**{**{name: getattr(row, name) for name in row.__slots__}, "body": body})}
    after = start()
    [again] = after.node.calls.dialogs.all()
    assert set(again.dialogs) == {b"b", b"other"}
    assert {each.leg for each in again.dialogs.values()} == {again}
    assert again.token == leg.token
    assert dialog.kept


def test_a_subscription_is_known_after_a_crash(start, disk):
    before = start()
    subscribe = message(b"SUBSCRIBE sip:bob@example.com SIP/2.0", b"SUBSCRIBE", CONTACT, b"Event: presence")
    before.arrive(subscribe, before.phone)
    before.arrive(answer_to(before.upper.out[-1], b"200 OK"), before.upper)
    contact = parse(before.upper.out[0]).contacts[0].uri.render()
    world = start()
    notify = message(
        b"NOTIFY " + contact + b" SIP/2.0", b"NOTIFY", CONTACT, b"Event: presence", b"Subscription-State: active",
        number=3,
    ).replace(b"c3@h", b"c1@h")  # fmt: skip
    notify = notify.replace(b"<sip:ada@example.com>;tag=a1", b"<sip:bob@example.com>;tag=b")
    notify = notify.replace(b"To: <sip:bob@example.com>", b"To: <sip:ada@example.com>;tag=a1")
    world.arrive(notify, world.upper)
    assert len(sent(world.phone, b"NOTIFY")) == 1
    assert world.node.call_log._live == {}, "it is no call"
    assert len(world.node.calls.terms.subscriptions) == 1
    world.clock.advance(4_000.0)
    world.node.calls.terms.watch()
    assert disk.rows == {}
