"""One request and several upper servers, tried one after the other."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sbc.proxy.branch import Answer, Cancel, Candidate, Failover, Forward, HangUp, Relay
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


def said(status, tag=b"b"):
    return respond(INVITE, status, to_tag=tag)


def server(name):
    return Candidate(name, name, True, False)


def started(*names, invite=True, patience=4.0):
    fork = Fork(invite, wait=40.0, patience=patience)
    first, *rest = map(server, names)
    [forward] = fork.start([replace(first, reserve=tuple(rest))], 0.0)
    assert forward == Forward(fork.branches[names[0]])
    return fork


def tried(effects):
    return [effect.branch.key for effect in effects if isinstance(effect, Forward)]


def test_a_server_that_is_out_of_service_is_followed_by_the_next():
    fork = started("a", "b")
    a = fork.branches["a"]
    failover, forward = fork.response(a, said(503), 0.1)
    assert failover == Failover(a, "503 Service Unavailable", False)
    assert forward == Forward(fork.branches["b"])
    b = fork.branches["b"]
    ok = said(200)
    assert fork.response(b, ok, 1.0) == [Relay(b, ok)]


def test_an_answer_about_the_call_is_final():
    for status in (401, 404, 407, 480, 486, 501, 603):
        fork = started("a", "b")
        refusal = said(status)
        assert fork.response(fork.branches["a"], refusal, 0.1) == [Relay(fork.branches["a"], refusal)]


def test_silence_before_any_provisional_answer():
    fork = started("a", "b")
    a = fork.branches["a"]
    assert fork.deadline() == 4.0
    assert fork.expire(3.9) == []
    assert fork.expire(4.0) == [
        Cancel(a, False),
        Failover(a, "silent for 4 s", True),
        Forward(fork.branches["b"]),
    ]
    assert fork.deadline() is None, "the last one may take its time"


def test_a_100_is_enough_to_be_waited_for():
    fork = started("a", "b")
    fork.response(fork.branches["a"], said(100), 0.1)
    assert fork.deadline() is None
    assert fork.expire(60.0) == []


def test_a_silent_server_that_answers_after_all_while_the_next_one_rings():
    fork = started("a", "b")
    a = fork.branches["a"]
    fork.expire(4.0)
    b = fork.branches["b"]
    fork.response(b, said(180), 4.5)
    assert fork.response(a, said(180), 4.6) == [], "it is being cancelled: the caller hears nothing of it"
    late = said(200)
    assert fork.response(a, late, 4.7) == [Relay(a, late), Cancel(b, True)]


def test_a_silent_server_that_answers_after_another_one_did():
    fork = started("a", "b")
    a = fork.branches["a"]
    fork.expire(4.0)
    fork.response(fork.branches["b"], said(200), 5.0)
    late = said(200, b"late")
    assert fork.response(a, late, 6.0) == [HangUp(a, late)]


def test_a_server_that_cannot_be_reached():
    fork = started("a", "b", "c")
    assert tried(fork.failed(fork.branches["a"], 503, 0.1, lost=True)) == ["b"]
    [failover, _] = fork.failed(fork.branches["b"], 503, 0.2, lost=True)
    assert (failover.reason, failover.silent) == ("cannot be reached", False)
    assert fork.failed(fork.branches["c"], 503, 0.3, lost=True) == [Answer(500, "Server Internal Error")]


def test_all_fail_and_the_best_refusal_is_told():
    fork = started("a", "b")
    fork.response(fork.branches["a"], said(500), 0.1)
    [answer] = fork.response(fork.branches["b"], said(503), 0.2)
    assert answer.response.status == 500


def test_nobody_answers_the_phone_is_no_fault_of_the_server():
    fork = started("a", "b")
    a = fork.branches["a"]
    fork.response(a, said(180), 1.0)
    assert tried(fork.response(a, said(408), 60.0)) == []
    fork = started("a", "b")
    a = fork.branches["a"]
    fork.response(a, said(180), 1.0)
    assert tried(fork.failed(a, 408, 180.0)) == []


def test_the_caller_gives_up_while_a_server_keeps_silent():
    fork = started("a", "b")
    a = fork.branches["a"]
    assert fork.cancel(2.0) == [Cancel(a, False), Answer(487, "Request Terminated")]
    assert fork.expire(4.0) == []
    fork = started("a", "b")
    a = fork.branches["a"]
    fork.response(a, said(100), 0.1)
    fork.cancel(2.0)
    assert tried(fork.response(a, said(503), 2.1)) == [], "no other server is bothered"


def test_other_requests_move_on_by_refusal_alone():
    fork = started("a", "b", invite=False)
    assert fork.deadline() is None
    assert fork.expire(10.0) == []
    assert tried(fork.response(fork.branches["a"], said(503), 11.0)) == ["b"]


NAMES = ("a", "b", "c")


@settings(max_examples=300, deadline=None)
@given(
    st.booleans(),
    st.lists(
        st.one_of(
            st.tuples(
                st.just("response"), st.sampled_from(NAMES), st.sampled_from((100, 180, 200, 404, 500, 503, 603))
            ),
            st.tuples(st.just("failed"), st.sampled_from(NAMES), st.sampled_from((408, 503))),
            st.tuples(st.just("cancel"), st.just(""), st.just(0)),
            st.tuples(st.just("expire"), st.just(""), st.sampled_from((1, 5))),
        ),
        max_size=20,
    ),
)
def test_whatever_happens_each_server_is_tried_once_and_the_caller_hears_one_end(invite, events):
    fork = started(*NAMES, invite=invite)
    sent = ["a"]
    refusals = 0
    now = 0.0
    for kind, key, what in events:
        over = fork.finished or fork.cancelled
        branch = fork.branches.get(key)
        if kind == "cancel":
            effects = fork.cancel(now)
        elif kind == "expire":
            now += what
            effects = fork.expire(now)
        elif branch is None:
            continue
        elif kind == "response":
            effects = fork.response(branch, said(what, key.encode()), now)
        else:
            effects = fork.failed(branch, what, now, lost=what == 503)
        assert not (over and tried(effects))
        sent += tried(effects)
        refusals += sum(
            isinstance(effect, Answer) or (isinstance(effect, Relay) and effect.response.status >= 300)
            for effect in effects
        )
    assert sent == list(NAMES[: len(sent)])
    assert refusals <= 1


def redirected(fork, *named, at=0.1):
    return fork.redirected(fork.branches["a"], [replace(server(name), q=q) for name, q in named], at)


def test_what_a_server_names_is_tried_in_its_place_and_then_the_next_server():
    fork = started("a", "b", "c")
    assert tried(redirected(fork, ("x", 1.0))) == ["x"]
    assert tried(fork.response(fork.branches["x"], said(503), 0.2)) == ["b"]
    assert tried(fork.response(fork.branches["b"], said(503), 0.3)) == ["c"]


def test_what_a_server_names_may_be_silent_no_longer_than_itself():
    fork = started("a", "b")
    redirected(fork, ("x", 1.0))
    assert fork.deadline() == 4.1
    cancel, failover, forward = fork.expire(4.1)
    assert (type(cancel), type(failover), forward) == (Cancel, Failover, Forward(fork.branches["b"]))


def test_the_next_server_follows_on_the_last_of_several():
    fork = started("a", "b")
    assert tried(redirected(fork, ("x", 0.2), ("y", 0.8))) == ["y"]
    assert tried(fork.response(fork.branches["y"], said(404), 0.2)) == ["x"]
    assert tried(fork.response(fork.branches["x"], said(503), 0.3)) == ["b"]


def test_an_answer_about_the_call_ends_it_after_a_redirection_too():
    fork = started("a", "b")
    redirected(fork, ("x", 1.0))
    busy = said(486)
    assert fork.response(fork.branches["x"], busy, 0.2) == [Relay(fork.branches["x"], busy)]


def test_a_server_that_redirects_in_circles_is_followed_by_the_next():
    fork = started("a", "b")
    redirected(fork, ("x", 1.0))
    effects = fork.redirected(fork.branches["x"], [server("a")], 0.2)
    assert tried(effects) == ["b"]
    fork = started("a", "b")
    fork.cancel(0.05)
    assert tried(redirected(fork, ("x", 1.0))) == []
