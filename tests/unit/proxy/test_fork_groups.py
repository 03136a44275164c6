"""The order in which devices ring, several flows of one device, and devices behind a proxy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sbc.proxy.branch import DOUBT, Answer, Cancel, Candidate, Forward, HangUp, Move, Relay, Renew, Wake
from sbc.proxy.fork import Fork
from sbc.sip.build import make_request, respond

INVITE = make_request(
    b"INVITE",
    b"sip:bob@example.test",
    via=b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
    from_=b"<sip:alice@example.test>;tag=a",
    to=b"<sip:bob@example.test>",
    call_id=b"c1",
    cseq=1,
)
RING = 20.0


def said(status, tag=b"b"):
    return respond(INVITE, status, to_tag=tag)


def device(key, q=1.0, *, awake=True, push=False, ways=(), behind=False):
    return Candidate(key, f"{key} here", awake, push or not awake, q=q, ways=ways, behind=behind)


def started(*candidates, wait=40.0, invite=True):
    fork = Fork(invite, wait=wait, ring=RING)
    return fork, fork.start(candidates, 0.0)


def rung(effects):
    return [(type(effect), effect.branch.key) for effect in effects if isinstance(effect, Forward | Wake | Cancel)]


# Who rings when


def test_equal_q_rings_together_and_the_lower_waits():
    fork, effects = started(device("desk", 0.5), device("mobile", 1.0), device("tablet", 0.5), device("web", 1.0))
    assert rung(effects) == [(Forward, "mobile"), (Forward, "web")]
    assert fork.response(fork.branches["mobile"], said(486), 1.0) == []
    assert rung(fork.response(fork.branches["web"], said(480), 2.0)) == [(Forward, "desk"), (Forward, "tablet")]


def test_the_best_refusal_of_all_of_them():
    fork, _ = started(device("a", 1.0), device("b", 0.5), device("c", 0.1))
    fork.response(fork.branches["a"], said(404), 1.0)
    fork.response(fork.branches["b"], said(407), 2.0)
    [relay] = fork.response(fork.branches["c"], said(486), 3.0)
    assert relay.response.status == 407


def test_who_does_not_answer_has_its_time_and_is_no_caller_who_gave_up():
    fork, _ = started(device("mobile", 1.0), device("desk", 0.5))
    mobile = fork.branches["mobile"]
    fork.response(mobile, said(180), 1.0)
    assert fork.deadline() == RING
    assert fork.expire(RING - 0.1) == []
    assert rung(fork.expire(RING)) == [(Cancel, "mobile"), (Forward, "desk")]
    assert fork.deadline() is None, "the last ones ring until the caller gives up"
    assert fork.response(mobile, said(487), RING + 0.1) == []
    [answer] = fork.failed(fork.branches["desk"], 408, 60.0)
    assert answer == Answer(408, "Request Timeout")


def test_an_answer_that_crosses_with_the_cancel_is_an_answer():
    fork, _ = started(device("mobile", 1.0), device("desk", 0.5))
    mobile, ok = fork.branches["mobile"], said(200)
    fork.response(mobile, said(180), 1.0)
    fork.expire(RING)
    effects = fork.response(mobile, ok, RING + 0.1)
    assert effects == [Relay(mobile, ok), Cancel(fork.branches["desk"], True)]


def test_a_603_is_the_end_also_for_those_who_come_later():
    fork, _ = started(device("a", 1.0), device("b", 0.5), device("c", 0.1))
    [relay] = fork.response(fork.branches["a"], said(603), 1.0)
    assert relay.response.status == 603
    assert fork.finished
    assert list(fork.branches) == ["a"]


def test_the_caller_gives_up_before_the_others_had_their_turn():
    fork, _ = started(device("a", 1.0), device("b", 0.5))
    a = fork.branches["a"]
    fork.response(a, said(180), 1.0)
    assert fork.cancel(2.0) == [Cancel(a, False)]
    assert fork.expire(RING) == []
    assert fork.response(a, said(487), 2.1) == [Answer(487, "Request Terminated")]


def test_a_sleeping_device_is_waited_for_within_its_group():
    fork, effects = started(device("phone", 1.0, awake=False), device("desk", 0.5))
    assert rung(effects) == [(Wake, "phone")]
    assert rung(fork.woken("phone", "new", True, True, 15.0)) == [(Forward, "phone")]
    fork.response(fork.branches["phone"], said(180), 15.1)
    assert fork.deadline() == 15.0 + RING, "it rings as long as the others"
    assert rung(fork.expire(15.0 + RING)) == [(Cancel, "phone"), (Forward, "desk")]


def test_one_that_wakes_too_late_rings_beside_the_next():
    fork, _ = started(device("phone", 1.0, awake=False), device("desk", 0.5))
    assert rung(fork.expire(RING)) == [(Forward, "desk")]
    assert rung(fork.woken("phone", "new", True, True, 25.0)) == [(Forward, "phone")]


def test_a_refused_push_is_a_failure_like_others():
    fork, [wake] = started(device("phone", 1.0, awake=False), device("desk", 0.5))
    assert rung(fork.pushed(wake.branch, False, 0.3)) == [(Forward, "desk")]


def test_a_lower_one_that_sleeps_is_pushed_when_its_turn_comes_and_has_its_own_time():
    fork, _ = started(device("desk", 1.0), device("phone", 0.5, awake=False), wait=10.0)
    assert rung(fork.response(fork.branches["desk"], said(486), 8.0)) == [(Wake, "phone")]
    assert fork.deadline() == 18.0
    [relay] = fork.expire(18.0)
    assert relay.response.status == 486


def test_a_device_that_registers_meanwhile_takes_its_place_in_the_order():
    fork, _ = started(device("desk", 0.5))
    fork.response(fork.branches["desk"], said(180), 0.5)
    assert fork.woken("low", "here", True, False, 1.0, q=0.1) == []
    assert rung(fork.woken("high", "here", True, False, 1.0, q=0.9)) == [(Forward, "high")]
    fork.response(fork.branches["desk"], said(486), 2.0)
    assert rung(fork.response(fork.branches["high"], said(486), 2.0)) == [(Forward, "low")]


def test_one_that_waits_for_its_turn_and_registers_is_called_where_it_is_then():
    fork, _ = started(device("desk", 1.0), device("phone", 0.5, awake=False))
    assert fork.woken("phone", "new", True, True, 1.0, q=0.5) == []
    [forward] = fork.response(fork.branches["desk"], said(486), 2.0)
    assert (forward.branch.key, forward.branch.target) == ("phone", "new")


def test_devices_first_and_then_the_server_whose_reserve_stays_its_own():
    spare = Candidate("upper:b", "b", True, False)
    server = Candidate("upper:a", "a", True, False, q=-1.0, reserve=(spare,))
    fork, _ = started(device("phone"), server)
    assert rung(fork.response(fork.branches["phone"], said(480), 1.0)) == [(Forward, "upper:a")]
    assert rung(fork.response(fork.branches["upper:a"], said(503), 2.0)) == [(Forward, "upper:b")]
    assert fork.verdict() == 480


# Redirections


def test_a_redirection_is_followed_in_the_order_of_q_and_never_in_circles():
    fork, _ = started(device("a"))
    targets = [device("b", 0.5), device("c", 0.9), device("a")]
    assert rung(fork.redirected(fork.branches["a"], targets, 1.0)) == [(Forward, "c")]
    assert rung(fork.response(fork.branches["c"], said(486), 2.0)) == [(Forward, "b")]
    [relay] = fork.redirected(fork.branches["b"], [device("c")], 3.0)
    assert relay.response.status == 486


def test_a_redirection_to_nobody_else():
    fork, _ = started(device("a"))
    assert fork.redirected(fork.branches["a"], [device("a")], 1.0) == [Answer(480, "Temporarily Unavailable")]


# Several flows of one device


def test_a_flow_that_failed_is_followed_by_the_next_and_never_both():
    for status in (430, 408, 477):
        fork, effects = started(device("phone", ways=("second", "third")))
        assert rung(effects) == [(Forward, "phone")]
        phone = fork.branches["phone"]
        assert fork.response(phone, said(status), 1.0) == [Forward(phone)], "anew: the phone never had it"
        assert phone.target == "second"
        fork.response(phone, said(status), 2.0)
        assert phone.target == "third"
        [relay] = fork.response(phone, said(status), 3.0)
        assert relay.response.status == status


def test_a_phone_that_rang_is_not_called_again_over_its_other_flow():
    fork, _ = started(device("phone", ways=("second",)))
    phone = fork.branches["phone"]
    fork.response(phone, said(180), 1.0)
    [relay] = fork.response(phone, said(408), 30.0)
    assert relay.response.status == 408


def test_a_flow_that_breaks_before_anything_came_back():
    fork, _ = started(device("phone", ways=("second",)))
    phone = fork.branches["phone"]
    assert fork.failed(phone, 503, 0.1, lost=True) == [Forward(phone, again=True)], "the same Via branch: no second one"
    assert phone.target == "second"


def test_a_silent_flow_is_left_before_the_device_is_pushed():
    fork, _ = started(device("phone", ways=("second",), push=True))
    phone = fork.branches["phone"]
    assert fork.expire(DOUBT) == [Move(phone)]
    assert phone.target == "second"
    assert fork.expire(2 * DOUBT) == [Wake(phone)]
    assert fork.deadline() == 2 * DOUBT + 40.0


# Behind a proxy


def test_the_100_of_a_proxy_says_nothing_of_the_phone():
    fork, _ = started(device("phone", behind=True, push=True))
    phone = fork.branches["phone"]
    fork.response(phone, said(100), 0.1)
    assert fork.deadline() == DOUBT
    assert fork.expire(DOUBT) == [Wake(phone)]
    assert fork.woken("phone", "same", True, False, 3.0, behind=True) == [], "it is where it was: it has the request"
    assert fork.woken("phone", "new", True, True, 4.0, behind=True) == [Renew(phone)]
    fork.response(phone, said(180), 4.5)
    assert fork.woken("phone", "newer", True, True, 5.0, behind=True) == []


def test_a_proxy_that_lost_its_phone_says_so_and_the_phone_is_pushed():
    fork, _ = started(device("phone", behind=True, push=True))
    phone = fork.branches["phone"]
    fork.response(phone, said(100), 0.1)
    assert fork.response(phone, said(430), 0.2) == [Wake(phone)]
    assert fork.waiting
    assert fork.woken("phone", "new", True, True, 3.0, behind=True) == [Forward(phone)]


def test_a_430_is_passed_on_where_nothing_can_be_done():
    fork, _ = started(device("phone", behind=True))
    [relay] = fork.response(fork.branches["phone"], said(430), 0.2)
    assert relay.response.status == 430


# Whatever happens

KEYS = ("a", "b", "c")
FLOWS = ("flow 1", "flow 2", "flow 3")
EVENTS = st.one_of(
    st.tuples(st.just("woken"), st.sampled_from(KEYS), st.sampled_from(FLOWS)),
    st.tuples(
        st.just("response"),
        st.sampled_from(KEYS),
        st.sampled_from((100, 180, 200, 302, 404, 408, 430, 486, 487, 503, 603)),
    ),
    st.tuples(st.just("failed"), st.sampled_from(KEYS), st.sampled_from((408, 503))),
    st.tuples(st.just("pushed"), st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("cancel"), st.just(""), st.none()),
    st.tuples(st.just("expire"), st.just(""), st.sampled_from((0.5, 3.0, 25.0, 60.0))),
)
CANDIDATES = st.lists(
    st.builds(
        lambda key, up, push, q, ways, behind: replace(
            device(key, q, awake=up, push=push, behind=behind), ways=ways if up else ()
        ),
        st.sampled_from(KEYS),
        st.booleans(),
        st.booleans(),
        st.sampled_from((0.1, 0.5, 1.0)),
        st.sampled_from(((), ("flow 1",), ("flow 1", "flow 2"))),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda candidate: candidate.key,
)


class Phones:
    """What the devices see. A request is out from its Forward until something says that it cannot be there any more."""

    def __init__(self):
        self.out: set[str] = set()
        self.rang: set[str] = set()
        self.cancelled: set[str] = set()
        self.pushed: dict[str, int] = {}
        self.finals = 0

    def see(self, effects, before_end):
        for effect in effects:
            key = effect.branch.key if not isinstance(effect, Answer) else ""
            if isinstance(effect, Forward | Move | Renew | Wake):
                assert before_end, f"{effect} after the end"
            if isinstance(effect, Forward):
                assert key not in self.rang, "it rang already"
                assert key not in self.out, "it has the request"
                self.out.add(key)
            elif isinstance(effect, Move | Renew):
                assert key in self.out
                assert key not in self.rang
                assert isinstance(effect, Renew) == effect.branch.behind
            elif isinstance(effect, Wake):
                self.pushed[key] = self.pushed.get(key, 0) + 1
            elif isinstance(effect, Cancel):
                assert key not in self.cancelled
                self.cancelled.add(key)
            elif isinstance(effect, Answer) or (isinstance(effect, Relay) and effect.response.status >= 300):
                self.finals += 1
            elif isinstance(effect, HangUp):
                assert effect.response.status == 200


@settings(max_examples=600, deadline=None)
@given(CANDIDATES, st.lists(EVENTS, max_size=30))
def test_no_phone_sees_a_second_invite_whatever_its_flows_and_whoever_rings_first(candidates, events):
    fork = Fork(True, wait=40.0, ring=RING)
    phones, now, order = Phones(), 0.0, {candidate.key: candidate.q for candidate in candidates}
    phones.see(fork.start(candidates, now), True)
    for kind, key, what in events:
        before_end = not fork.finished and not fork.cancelled
        branch = fork.branches.get(key)
        on_the_wire = branch is not None and key in phones.out and branch.state != "done"
        if kind == "woken":
            behind = branch is not None and branch.behind
            elsewhere = branch is None or branch.target != what
            effects = fork.woken(key, what, True, elsewhere, now, q=order.setdefault(key, 1.0), behind=behind)
        elif kind == "response" and on_the_wire:
            if 100 < what < 200 or (what == 100 and not branch.behind):
                phones.rang.add(key)
            if what in (408, 430) and key not in phones.rang:
                phones.out.discard(key)
            effects = fork.response(branch, said(what, key.encode()), now)
        elif kind == "failed" and on_the_wire:
            if what == 503 and key not in phones.rang:
                phones.out.discard(key)
            effects = fork.failed(branch, what, now, lost=what == 503)
        elif kind == "pushed" and branch is not None and branch.pushed:
            effects = fork.pushed(branch, what, now)
        elif kind == "cancel":
            effects = fork.cancel(now)
        elif kind == "expire":
            now += what
            effects = fork.expire(now)
        else:
            continue
        phones.see(effects, before_end)
        ringing = [
            each for each in fork.branches.values() if each.state in ("trying", "ringing") and not each.cancelled
        ]
        waiting = [q for key, q in order.items() if key not in fork.branches]
        if before_end and ringing and not fork.finished:
            assert all(q <= max(order[each.key] for each in ringing) for q in waiting), "the more preferred ring first"

    assert all(count == 1 for count in phones.pushed.values())
    assert phones.finals <= 1
    if all(branch.state == "done" for branch in fork.branches.values()):
        assert fork.finished
