"""One request, its targets, and the order in which things happen to them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sbc.proxy.branch import (
    DOUBT,
    Abandon,
    Answer,
    Cancel,
    Candidate,
    Desist,
    Forward,
    HangUp,
    Move,
    Relay,
    Wake,
)
from sbc.proxy.fork import TAKES, Fork
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


def said(status, tag=b"b"):
    return respond(INVITE, status, to_tag=tag)


def asleep(key):
    return Candidate(key, f"{key} before", False, True)


def awake(key, pushable=True):
    return Candidate(key, f"{key} here", True, pushable)


def kinds(effects):
    return [type(effect) for effect in effects]


def started(*candidates, invite=True, wait=40.0):
    fork = Fork(invite, wait=wait)
    return fork, fork.start(candidates, 0.0)


def kept(*candidates, wait=20.0):
    """A MESSAGE that can be kept instead."""
    fork = Fork(False, wait=wait)
    fork.keeps = True
    return fork, fork.start(candidates, 0.0)


def test_a_message_that_can_be_kept_is_taken_from_phones_that_say_nothing():
    fork, [forward] = kept(awake("phone"))
    assert kinds(fork.expire(DOUBT)) == [Wake]
    assert fork.deadline() == 20.0
    assert fork.expire(20.0) == [Abandon(forward.branch), Answer(480, "Temporarily Unavailable")]
    assert fork.response(forward.branch, said(200), 21.0) == []


def test_nobody_need_be_pushable_for_that():
    fork, _ = kept(awake("phone", pushable=False))
    assert kinds(fork.expire(20.0)) == [Abandon, Answer]


def test_who_has_just_got_it_is_given_time_to_answer():
    fork, _ = kept(asleep("phone"))
    [forward] = fork.woken("phone", "new flow", True, True, 19.0)
    assert fork.expire(20.0) == []
    assert fork.deadline() == 19.0 + TAKES
    assert kinds(fork.response(forward.branch, said(200), 20.5)) == [Relay]
    assert fork.finished


def test_who_answers_is_no_longer_silent():
    fork, _ = kept(awake("phone"), awake("other"))
    [first, second] = fork.branches.values()
    assert fork.response(first, said(404), 1.0) == []
    assert Abandon(second) in fork.expire(20.0)


def test_a_message_that_cannot_be_kept_is_not_given_up_before_its_transaction():
    fork, _ = started(awake("phone", pushable=False), invite=False)
    assert fork.deadline() is None


def test_nobody_is_registered():
    fork, effects = started()
    assert effects == [Answer(480, "Temporarily Unavailable")]
    assert fork.finished


def test_a_sleeping_phone_is_pushed_once_and_gets_the_request_once_when_it_registers():
    fork, effects = started(asleep("phone"))
    assert kinds(effects) == [Wake]
    assert fork.waiting
    assert fork.pushed(effects[0].branch, True, 0.1) == []

    [forward] = fork.woken("phone", "new flow", True, True, 2.0)
    assert isinstance(forward, Forward)
    assert forward.branch.target == "new flow"
    assert not fork.waiting
    assert fork.woken("phone", "new flow", True, False, 2.5) == [], "a second REGISTER on the same flow changes nothing"


def test_a_phone_that_registers_again_elsewhere_before_it_answered_gets_the_same_request_there():
    fork, _ = started(asleep("phone"))
    fork.woken("phone", "first", True, True, 1.0)
    [move] = fork.woken("phone", "second", True, True, 1.5)
    assert isinstance(move, Move)
    assert move.branch.target == "second"

    fork.response(move.branch, said(100), 1.6)
    assert fork.woken("phone", "third", True, True, 1.7) == [], "it has the request: nothing is sent again"


def test_the_caller_gives_up_while_the_phone_sleeps():
    fork, _ = started(asleep("phone"))
    assert fork.cancel(3.0) == [Answer(487, "Request Terminated")]
    assert fork.woken("phone", "new flow", True, True, 4.0) == [], "nobody rings afterwards"


def test_the_caller_gives_up_while_a_phone_rings_and_another_sleeps():
    fork, effects = started(awake("desk", False), asleep("phone"))
    assert kinds(effects) == [Forward, Wake]
    desk = fork.branches["desk"]
    assert kinds(fork.response(desk, said(180), 1.0)) == [Relay]

    assert fork.cancel(2.0) == [Cancel(desk, False)]
    assert fork.woken("phone", "flow", True, True, 2.5) == []
    assert fork.response(desk, said(487), 2.6) == [Answer(487, "Request Terminated")]


def test_a_request_that_nothing_answered_yet_is_cancelled_as_soon_as_it_may_be():
    fork, _ = started(awake("phone"))
    phone = fork.branches["phone"]
    assert fork.cancel(0.2) == [Cancel(phone, False), Answer(487, "Request Terminated")]


def test_nobody_wakes():
    fork, _ = started(asleep("phone"), wait=10.0)
    assert fork.deadline() == 10.0
    assert fork.expire(9.9) == []
    assert fork.expire(10.0) == [Answer(480, "Temporarily Unavailable")]


def test_the_provider_refuses_the_push():
    fork, [wake] = started(asleep("phone"))
    assert fork.pushed(wake.branch, False, 0.3) == [Answer(480, "Temporarily Unavailable")]


def test_a_refused_push_does_not_end_a_call_that_rings_elsewhere():
    fork, effects = started(awake("desk", False), asleep("phone"))
    assert fork.pushed(effects[1].branch, False, 0.3) == []
    assert not fork.finished


def test_the_first_to_answer_wins_and_the_others_are_told_why():
    fork, _ = started(awake("desk", False), awake("phone"), asleep("tablet"))
    desk, phone, tablet = (fork.branches[key] for key in ("desk", "phone", "tablet"))
    fork.response(desk, said(180), 1.0)
    fork.response(phone, said(180), 1.1)

    effects = fork.response(phone, said(200), 2.0)
    assert effects == [Relay(phone, effects[0].response), Cancel(desk, True)]
    assert tablet.status == 487
    assert fork.response(desk, said(487), 2.1) == []
    assert fork.woken("tablet", "flow", True, True, 3.0) == []


def test_two_answer_at_once():
    fork, _ = started(awake("desk"), awake("phone"))
    desk, phone = fork.branches["desk"], fork.branches["phone"]
    fork.response(desk, said(200, b"d"), 1.0)
    late = said(200, b"p")
    assert fork.response(phone, late, 1.01) == [HangUp(phone, late)]
    again = said(200, b"d")
    assert fork.response(desk, again, 1.5) == [Relay(desk, again)], (
        "a repeated 2xx goes to the caller, who repeats its ACK"
    )


def test_an_answer_after_the_call_was_refused_is_hung_up():
    fork, _ = started(awake("phone"))
    phone = fork.branches["phone"]
    fork.cancel(1.0)
    late = said(200)
    assert fork.response(phone, late, 1.2) == [HangUp(phone, late)]


def test_the_best_of_several_refusals():
    fork, _ = started(awake("a", False), awake("b", False), awake("c", False))
    a, b, c = (fork.branches[key] for key in "abc")
    assert fork.response(a, said(503), 1.0) == []
    assert fork.response(b, said(486), 1.0) == []
    [effect] = fork.response(c, said(500), 1.0)
    assert effect.response.status == 486


def test_a_challenge_wins_over_other_refusals_of_its_class():
    fork, _ = started(awake("a", False), awake("b", False))
    fork.response(fork.branches["a"], said(404), 1.0)
    [effect] = fork.response(fork.branches["b"], said(407), 1.0)
    assert effect.response.status == 407


def test_a_603_ends_the_search():
    fork, _ = started(awake("a", False), awake("b", False), asleep("c"))
    a, b = fork.branches["a"], fork.branches["b"]
    fork.response(b, said(180), 0.5)
    assert fork.response(a, said(603), 1.0) == [Cancel(b, False)]
    [effect] = fork.response(b, said(487), 1.1)
    assert effect.response.status == 603


def test_a_503_is_not_passed_on():
    fork, _ = started(awake("a", False))
    assert fork.response(fork.branches["a"], said(503), 1.0) == [Answer(500, "Server Internal Error")]


def test_a_device_that_looked_awake_and_keeps_silent_is_pushed_after_a_moment():
    fork, effects = started(awake("phone"))
    assert kinds(effects) == [Forward]
    assert fork.deadline() == DOUBT
    assert kinds(fork.expire(DOUBT)) == [Wake]
    assert fork.expire(DOUBT + 1) == [], "once"
    assert kinds(fork.woken("phone", "new flow", True, True, 5.0)) == [Move]


def test_a_device_that_rings_is_not_pushed():
    fork, _ = started(awake("phone"))
    fork.response(fork.branches["phone"], said(100), 0.1)
    assert fork.deadline() is None
    assert fork.expire(DOUBT) == []


def test_a_broken_flow_falls_back_to_a_push():
    fork, _ = started(awake("phone"))
    phone = fork.branches["phone"]
    assert fork.failed(phone, 503, 0.1, lost=True) == [Wake(phone)]
    assert fork.waiting
    assert kinds(fork.woken("phone", "new flow", True, True, 2.0)) == [Forward]


def test_silence_to_the_end():
    fork, _ = started(awake("phone", False))
    assert fork.failed(fork.branches["phone"], 408, 32.0) == [Answer(408, "Request Timeout")]


def test_silence_to_a_message_is_not_answered_too_late():
    fork, _ = started(awake("phone", False), invite=False)
    assert fork.failed(fork.branches["phone"], 408, 32.0) == [Desist()]
    assert fork.finished


def test_a_408_from_a_device_to_a_message_goes_no_further():
    fork, _ = started(awake("phone", False), invite=False)
    assert fork.response(fork.branches["phone"], said(408), 20.0) == [Desist()]


def test_a_device_that_registers_while_another_rings_joins_in():
    fork, _ = started(awake("desk", False))
    fork.response(fork.branches["desk"], said(180), 1.0)
    [forward] = fork.woken("phone", "flow", True, False, 2.0)
    assert isinstance(forward, Forward)


def test_a_message_goes_to_those_who_wake_and_not_to_newcomers():
    fork, effects = started(asleep("phone"), invite=False, wait=20.0)
    assert kinds(effects) == [Wake]
    [forward] = fork.woken("phone", "flow", True, True, 1.0)
    assert fork.woken("tablet", "flow", True, True, 1.1) == []
    ok = said(200)
    assert fork.response(forward.branch, ok, 1.2) == [Relay(forward.branch, ok)]
    assert fork.finished


KEYS = ("a", "b", "c")
EVENTS = st.one_of(
    st.tuples(st.just("woken"), st.sampled_from(KEYS), st.sampled_from(("flow 1", "flow 2"))),
    st.tuples(
        st.just("response"), st.sampled_from(KEYS), st.sampled_from((100, 180, 183, 200, 302, 404, 407, 486, 503, 603))
    ),
    st.tuples(st.just("failed"), st.sampled_from(KEYS), st.sampled_from((408, 503))),
    st.tuples(st.just("pushed"), st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("cancel"), st.just(""), st.none()),
    st.tuples(st.just("expire"), st.just(""), st.sampled_from((0.5, 3.0, 60.0))),
)
CANDIDATES = st.lists(
    st.builds(
        lambda key, up, push: Candidate(key, "start", up, push or not up),
        st.sampled_from(KEYS),
        st.booleans(),
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda candidate: candidate.key,
)


@settings(max_examples=400, deadline=None)
@given(st.booleans(), CANDIDATES, st.lists(EVENTS, max_size=25))
def test_whatever_the_order_no_phone_sees_a_request_twice_and_none_rings_after_the_end(invite, candidates, events):
    fork = Fork(invite, wait=40.0)
    now = 0.0
    forwarded: dict[str, int] = {}
    pushed: dict[str, int] = {}
    cancelled: set[str] = set()
    broken: set[str] = set()
    finals = 0

    def look(effects, before_end):
        nonlocal finals
        for effect in effects:
            if isinstance(effect, Forward | Move | Wake):
                assert before_end, f"{effect} after the end"
            if isinstance(effect, Forward):
                forwarded[effect.branch.key] = forwarded.get(effect.branch.key, 0) + 1
            elif isinstance(effect, Move):
                assert forwarded.get(effect.branch.key) and not effect.branch.heard
            elif isinstance(effect, Wake):
                pushed[effect.branch.key] = pushed.get(effect.branch.key, 0) + 1
            elif isinstance(effect, Cancel):
                assert invite and effect.branch.key not in cancelled
                cancelled.add(effect.branch.key)
            elif isinstance(effect, Answer | Desist) or (isinstance(effect, Relay) and effect.response.status >= 300):
                finals += 1

    look(fork.start(candidates, now), True)
    for kind, key, what in events:
        before_end = not fork.finished and not fork.cancelled
        branch = fork.branches.get(key)
        on_the_wire = branch is not None and forwarded.get(key)
        if kind == "woken":
            effects = fork.woken(key, what, True, branch is None or branch.target != what, now)
        elif kind == "response" and on_the_wire:
            effects = fork.response(branch, said(what, key.encode()), now)
        elif kind == "failed" and on_the_wire:
            if what == 503 and not branch.heard:
                broken.add(key)
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
        look(effects, before_end)

    assert all(count == 1 for count in pushed.values())
    for key, count in forwarded.items():
        assert count == 1 or key in broken, "only a flow that broke before any answer is tried once more"
    assert finals <= 1
    if all(branch.state == "done" for branch in fork.branches.values()):
        assert fork.finished
