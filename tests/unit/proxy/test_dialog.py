"""Which dialog a request belongs to, and where it goes next."""

from __future__ import annotations

from sbc.observe.calllog import CallLog
from sbc.proxy.dialog import IDLE_LEG, Dialogs, Inside, Leg, Side, next_hop
from sbc.proxy.keeping import CSEQ_LEAP, restored, written
from sbc.proxy.session_timer import GRACE
from sbc.proxy.story import Story
from sbc.sip.message import parse


class Hop:
    def __init__(self, token):
        self.token = token
        self.open = True


PHONE, PBX = Hop("tcp/1"), Hop("udp/0/10.0.0.1:5060")


def story():
    log = CallLog(lambda batch: None)
    return Story(log, lambda: 1.0, log.start("c1", "alice", "bob", "pbx", 1.0))


def leg(token=b"tok", call_id=b"c1", masked=b""):
    a = Side(b"sip:tok@us-a", PBX, b"sip:alice@10.0.0.2", (b"<sip:10.0.0.1;lr>",), "pbx", "10.0.0.1", call_id=call_id)
    b = Side(b"sip:tok@us-b", PHONE, address="192.0.2.7", user="bob@pbx.example.com", call_id=masked or call_id)
    return Leg(token, b"a", a, b, story(), 0.0, from_=b"<sip:alice@h>;tag=a", to=b"<sip:bob@h>", cseq=5)


def answered(status=200, tag=b"b", routes=(b"<sip:10.9.9.2;lr>", b"<sip:10.9.9.1;lr>")):
    lines = [
        b"SIP/2.0 %d X" % status,
        b"Via: SIP/2.0/UDP us;branch=z9hG4bK1",
        *(b"Record-Route: " + route for route in routes),
        b"From: <sip:alice@h>;tag=a",
        b"To: <sip:bob@h>;tag=" + tag,
        b"Call-ID: c1",
        b"CSeq: 5 INVITE",
        b"Contact: <sip:bob@192.0.2.7:5062>",
        b"Content-Length: 0\r\n\r\n",
    ]
    return parse(b"\r\n".join(lines))


def inside(
    method=b"BYE", uri=b"sip:tok@us", from_tag=b"a", to_tag=b"b", call_id=b"c1", contact=b"<sip:alice@10.0.0.77>"
):
    lines = [
        method + b" " + uri + b" SIP/2.0",
        b"Via: SIP/2.0/UDP h;branch=z9hG4bK2",
        b"From: <sip:x@h>;tag=" + from_tag,
        b"To: <sip:y@h>;tag=" + to_tag,
        b"Call-ID: " + call_id,
        b"CSeq: 6 " + method,
        b"Contact: " + contact,
        b"Content-Length: 0\r\n\r\n",
    ]
    return parse(b"\r\n".join(lines))


def opened():
    dialogs, one = Dialogs(), leg()
    dialogs.open(one)
    dialogs.responded(one, answered(), PHONE, 1.0)
    return dialogs, one


def test_a_request_of_either_side_finds_its_dialog():
    dialogs, one = opened()
    down = dialogs.find(inside(), 2.0)
    assert down.from_a
    assert down.receiver.target == b"sip:bob@192.0.2.7:5062"
    up = dialogs.find(inside(from_tag=b"b", to_tag=b"a"), 2.0)
    assert not up.from_a
    assert up.receiver is one.a


def test_what_belongs_to_no_dialog():
    dialogs, _ = opened()
    assert dialogs.find(inside(uri=b"sip:0123456789abcdef0123@us"), 2.0) is None, "a leg that is over"
    assert dialogs.find(inside(call_id=b"c2"), 2.0) is None
    assert dialogs.find(inside(from_tag=b"x", to_tag=b"y"), 2.0) is None
    assert dialogs.find(inside(from_tag=b"evil", to_tag=b"b"), 2.0) is None


def test_a_call_that_passes_twice_with_one_call_id_has_two_dialogs():
    dialogs, one = opened()
    two = leg(token=b"tok2")
    dialogs.open(two)
    dialogs.responded(two, answered(), PBX, 1.0)
    assert dialogs.find(inside(uri=b"sip:tok@us"), 2.0).dialog.leg is one
    assert dialogs.find(inside(uri=b"sip:tok2@us"), 2.0).dialog.leg is two


def test_each_side_is_known_by_its_own_call_id():
    dialogs, one = Dialogs(), leg(masked=b"masked")
    dialogs.open(one)
    dialogs.responded(one, answered(), PHONE, 1.0)
    assert dialogs.find(inside(), 2.0).receiver.call_id == b"masked"
    assert dialogs.find(inside(from_tag=b"b", to_tag=b"a", call_id=b"masked"), 2.0).receiver.call_id == b"c1"
    assert dialogs.find(inside(from_tag=b"b", to_tag=b"a"), 2.0) is None
    assert dialogs.find(inside(call_id=b"masked"), 2.0) is None


def test_each_downstream_fork_is_a_dialog_of_its_own():
    dialogs, one = opened()
    dialogs.responded(one, answered(183, b"c"), PHONE, 1.0)
    assert set(one.dialogs) == {b"b", b"c"}
    assert dialogs.find(inside(to_tag=b"c"), 2.0).dialog.tag == b"c"


def test_the_route_set_is_turned_round_for_requests_toward_the_answerer():
    _, one = opened()
    uri, routes, first = next_hop(one.dialogs[b"b"].b)
    assert uri == b"sip:bob@192.0.2.7:5062"
    assert routes == (b"<sip:10.9.9.1;lr>", b"<sip:10.9.9.2;lr>")
    assert first.host == b"10.9.9.1"


def test_a_strict_router_gets_the_request_uri():
    side = Side(b"c", target=b"sip:bob@h", routes=(b"<sip:strict.example>", b"<sip:loose.example;lr>"))
    uri, routes, first = next_hop(side)
    assert uri == b"sip:strict.example"
    assert routes == (b"<sip:loose.example;lr>", b"<sip:bob@h>")
    assert first.host == b"strict.example"


def test_a_reinvite_moves_the_target_of_its_sender():
    dialogs, one = opened()
    request = inside(b"INVITE")
    found = dialogs.find(request, 2.0)
    dialogs.requested(found, request, PBX)
    assert one.a.target == b"sip:alice@10.0.0.77"
    assert found.dialog.cseq_a == 6
    bye = inside(b"BYE", contact=b"<sip:alice@10.0.0.99>")
    dialogs.requested(found, bye, PBX)
    assert one.a.target == b"sip:alice@10.0.0.77", "a BYE refreshes nothing"


def test_a_notify_may_come_before_the_answer_to_its_subscribe():
    dialogs, one = Dialogs(), leg()
    dialogs.open(one)
    found = dialogs.find(inside(b"NOTIFY", from_tag=b"n", to_tag=b"a"), 1.0)
    assert found is not None
    assert not found.from_a


def test_the_dialogs_of_a_user_are_found_until_they_end():
    dialogs, one = opened()
    side = one.dialogs[b"b"].b
    side.device = "t:phone"
    assert dialogs.moved("bob@pbx.example.com", "t:phone", Hop("tcp/2")) == [one.dialogs[b"b"]]
    assert dialogs.moved("bob@pbx.example.com", "t:phone", side.hop) == [], "it is there already"
    dialogs.close(one)
    assert dialogs.moved("bob@pbx.example.com", "t:phone", PHONE) == []
    assert dialogs.named(b"c1", b"b", b"a") == []
    assert len(dialogs) == 0


def test_silent_legs_are_noticed():
    dialogs, one = opened()
    assert dialogs.idle(IDLE_LEG) == []
    assert dialogs.idle(1.0 + IDLE_LEG + 1) == [one]


def test_a_dialog_is_the_same_after_a_restart():
    dialogs, one = opened()
    dialogs.requested(dialogs.find(inside(b"UPDATE"), 2.0), inside(b"UPDATE"), PBX)
    text = written(one.dialogs[b"b"], "ports", 2.0, 1002.0)

    again, media = restored(text, {"tcp/1": None, PBX.token: PBX}.get, one.story, 9.0, 1009.0)
    assert media == "ports"
    after = Dialogs()
    after.open(again.leg)
    found = after.find(inside(), 9.0)
    assert isinstance(found, Inside)
    assert found.dialog is again
    assert found.receiver.target == b"sip:bob@192.0.2.7:5062"
    assert found.receiver.hop is None
    assert found.sender.hop is PBX
    assert found.dialog.cseq_a == 6 + CSEQ_LEAP, "a BYE of ours has a higher number than what was not kept"


def test_a_session_timer_goes_on_after_a_restart():
    _, one = opened()
    dialog = one.dialogs[b"b"]
    for dead_at, left in ((302.0, 290.0), (3.0, GRACE), (None, None)):
        dialog.dead_at = dead_at
        text = written(dialog, None, 2.0, 1002.0)
        again, _ = restored(text, lambda token: None, one.story, 50.0, 1012.0)
        assert again.dead_at == (None if left is None else 50.0 + left)


def test_a_subscription_goes_on_after_a_restart():
    _, one = opened()
    one.until = 602.0
    text = written(one.dialogs[b"b"], None, 2.0, 1020.0)
    assert restored(text, lambda token: None, one.story, 50.0, 1020.0)[0].leg.until == 650.0
    one.until = None
    text = written(one.dialogs[b"b"], None, 2.0, 1020.0)
    assert restored(text, lambda token: None, one.story, 50.0, 1020.0)[0].leg.until is None


def test_what_a_request_changes_is_told():
    dialogs, _ = opened()
    same = inside(b"INFO")
    found = dialogs.find(same, 2.0)
    assert not dialogs.requested(found, same, PBX)
    assert dialogs.requested(found, same, Hop("udp/0/10.0.0.1:5070")), "it is elsewhere"
    assert dialogs.requested(found, inside(b"UPDATE"), PBX), "it has a new Contact"


def test_a_2xx_that_comes_again_names_its_dialog():
    dialogs, one = opened()
    assert dialogs.answered(answered()) == Inside(one.dialogs[b"b"], True)
    assert dialogs.answered(answered(tag=b"other")) is None
    dialogs.close(one)
    assert dialogs.answered(answered()) is None


def test_a_device_takes_its_dialogs_along_to_another_flow():
    dialogs, one = opened()
    side = one.dialogs[b"b"].b
    side.device = "t:phone"
    elsewhere = Hop("tcp/2")
    dialogs.moved("bob@pbx.example.com", "t:tablet", elsewhere)
    assert side.hop is PHONE, "another device of the same user"
    dialogs.moved("bob@pbx.example.com", "t:phone", elsewhere)
    assert side.hop is elsewhere


def test_a_side_of_an_unknown_device_gets_the_flow_of_its_user_when_it_lost_its_own():
    dialogs, one = opened()
    side = one.dialogs[b"b"].b
    elsewhere = Hop("tcp/2")
    dialogs.moved("bob@pbx.example.com", "t:phone", elsewhere)
    assert side.hop is PHONE
    side.hop = None
    dialogs.moved("bob@pbx.example.com", "t:phone", elsewhere)
    assert side.hop is elsewhere
