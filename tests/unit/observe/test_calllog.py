"""A call's story, told and written."""

import pytest

from sbc.observe import calllog, kinds
from sbc.observe.calllog import CallLog


@pytest.fixture
def written():
    return []


@pytest.fixture
def log(written):
    return CallLog(written.append)


def test_a_sleeping_phone_is_woken_and_answers(log, written):
    call = log.start("c1", "sip:bob@pbx", "sip:alice@pbx", "pbx", 100.0)
    log.event(call, kinds.ASLEEP, "device 1", 100.0)
    log.event(call, kinds.PUSH_SENT, "apns com.example.phone", 100.1)
    log.event(call, kinds.PUSH_ACCEPTED, "200 in 0.12 s", 100.2)
    log.event("c1", kinds.WOKEN, "device 1", 102.1)
    log.event("c1", kinds.RINGING, "device 1", 103.0)
    log.event("c1", kinds.RINGING, "device 1", 104.0)
    log.event("c1", kinds.ANSWERED, "device 1", 105.0)
    assert log.live() == [call]
    assert len(log) == 1
    log.end(call, 200, "OK", "caller", 165.0)
    log.end(call, 500, "again", "sbc", 166.0)
    assert log.live() == []
    log.flush(165.2)

    (batch,) = written
    assert batch.calls == (call,)
    assert (call.ringing_at, call.answered_at, call.ended_at, call.code) == (103.0, 105.0, 165.0, 200)
    assert call.pushed is True
    assert call.woke_after == pytest.approx(2.0)
    assert (call.ended_by, call.reason) == ("caller", "OK")
    assert [line.kind for line in batch.events] == [
        "invite", "asleep", "push_sent", "push_accepted", "woken", "ringing", "ringing", "answered", "ended",
    ]  # fmt: skip
    log.flush(999.0, everything=True)
    assert len(written) == 1


def test_a_running_call_is_readable_before_it_ends(log, written):
    log.start("c1", "a", "b", "pbx", 100.0)
    log.flush(101.0)
    assert written == []
    assert [line.kind for line in log.pending("c1")] == ["invite"]
    log.flush(105.0)
    assert [line.kind for line in written[0].events] == ["invite"]
    assert written[0].calls == ()
    assert log.pending("c1") == []


def test_many_calls_are_one_batch(log, written):
    for number in range(50):
        call = log.start(f"c{number}", "a", "b", "pbx", 100.0 + number)
        log.end(call, 486, "Busy Here", "callee", 160.0)
    log.flush(160.0)
    (batch,) = written
    assert len(batch.calls) == 50
    assert len(batch.events) == 100
    assert [line.at for line in batch.events] == sorted(line.at for line in batch.events)


def test_a_spiral_is_two_calls_with_one_timeline(log, written):
    outer = log.start("c1", "a", "b", "pbx", 1.0)
    inner = log.start("c1", "a", "b", "pbx", 2.0)
    log.event("c1", kinds.RINGING, "", 3.0)
    assert (outer.ringing_at, inner.ringing_at) == (None, 3.0)
    log.end(inner, 200, "OK", "callee", 4.0)
    log.event("c1", kinds.RINGING, "", 5.0)
    assert outer.ringing_at == 5.0
    log.end(outer, 200, "OK", "callee", 6.0)
    log.flush(6.0)
    assert written[0].calls == (inner, outer)


def test_secrets_and_control_characters_do_not_enter(log, written):
    call = log.start("c\r\n1", "sip:<script>@x", "b", "pbx", 1.0)
    log.event(call, kinds.ERROR, "Authorization: Digest response=abc\r\nX-PIID: def", 2.0)
    log.event(call, kinds.ERROR, "x" * 5000, 2.0)
    log.flush(0, everything=True)
    _, first, second = written[0].events
    assert "abc" not in first.detail
    assert "def" not in first.detail
    assert "\n" not in first.detail + first.call_id
    assert len(second.detail) == calllog.DETAIL_LIMIT


def test_only_known_words(log):
    with pytest.raises(ValueError, match="no such kind"):
        log.event("c1", "exploded", "", 1.0)


def test_limits(log, written, monkeypatch):
    looping = log.start("loop", "a", "b", "pbx", 1.0)
    for _ in range(calllog.EVENTS_PER_CALL + 4):
        log.event("loop", kinds.REQUEST, "INFO", 1.0)
    assert log.dropped == 5
    log.end(looping, 200, "OK", "caller", 1.0)
    log.flush(1.0)
    events = written.pop().events
    assert len(events) == calllog.EVENTS_PER_CALL + 1
    assert events[-1].kind == "ended"
    monkeypatch.setattr(calllog, "LIVE_LIMIT", 1)
    kept = log.start("c1", "a", "b", "pbx", 1.0)
    over = log.start("c2", "a", "b", "pbx", 1.0)
    log.end(over, 200, "OK", "caller", 2.0)
    log.end(kept, 200, "OK", "caller", 2.0)
    log.flush(2.0, everything=True)
    assert written[0].calls == (kept,)
    log.lost(written[0])
    assert log.dropped == 6 + 1 + len(written[0].events)


def test_what_strangers_send_is_bounded_and_calls_go_on(log, written):
    call = log.start("c1", "a", "b", "pbx", 1.0)
    for number in range(calllog.STRAY_LIMIT + 50):
        log.event(f"scan{number}", kinds.REGISTER, "refused", 1.0)
    log.event(call, kinds.RINGING, "", 2.0)
    log.flush(2.0, everything=True)
    assert len(written[0].events) == calllog.STRAY_LIMIT + 2
    assert log.dropped == 50
    log.event("later", kinds.REGISTER, "refused", 3.0)
    assert log.pending("later")


def test_every_word_is_explained():
    words = {value for name, value in vars(kinds).items() if name.isupper() and isinstance(value, str)}
    assert words == set(kinds.KINDS)
    assert all(kinds.KINDS.values())
