"""What a media process is made of: which engine it has, its timers, what it says and how it is understood."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from twisted.internet.task import Clock

from sbc.media import child, control, keeper, kernel, process, saying, spread, worker
from sbc.media.engine import Answer, Direction, Offer, Statistics, StreamStatistics
from sbc.media.offload import UnavailableError
from sbc.media.sdp import parse
from sbc.media.settings import MediaSettings
from sbc.media.silence import Patience, Silence
from sbc.media.snapshot import ENCRYPTED
from sbc.media.timers import Timers
from sbc.settings import Ports

BODY = b"v=0\r\no=- 1 1 IN IP4 127.0.0.3\r\ns=\xff\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
MESSAGES = some.dictionaries(some.text(max_size=8), some.integers() | some.text(max_size=40), max_size=6)


# What the kernel does


def test_auto_and_kernel_try_and_say_why_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(state: str, place: Path | None) -> Any:
        raise UnavailableError("no CAP_BPF")

    monkeypatch.setattr(kernel, "load", load)
    assert worker.offload(tmp_path, "auto") == (None, "no CAP_BPF")
    assert worker.offload(tmp_path, "kernel") == (None, "no CAP_BPF")


def test_a_bug_in_what_the_kernel_does_costs_no_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(state: str, place: Path | None) -> Any:
        raise IndexError("an attribute is cut off")

    monkeypatch.setattr(kernel, "load", load)
    assert worker.offload(tmp_path, "auto") == (None, "IndexError: an attribute is cut off")


def test_python_does_not_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(kernel, "load")
    assert worker.offload(tmp_path, "python") == (None, "")


@pytest.mark.parametrize(("wanted", "level"), [("auto", "info"), ("kernel", "warn")])
def test_what_forwards_is_one_line_of_the_log(monkeypatch: pytest.MonkeyPatch, wanted: str, level: str) -> None:
    lines: list[tuple[str, str]] = []

    class Log:
        def info(self, line: str, **values: Any) -> None:
            lines.append(("info", line.format(**values)))

        def warn(self, line: str, **values: Any) -> None:
            lines.append(("warn", line.format(**values)))

    monkeypatch.setattr(saying, "log", Log())
    engine = saying.Saying(wanted)
    for _ in range(3):
        engine.say({"name": "python", "how": "", "why": "no CAP_BPF", "files": True})
    assert lines == [(level, "media engine: python; not the kernel: no CAP_BPF")]
    engine.say({"name": "kernel", "how": "", "why": "", "files": True})
    assert lines[1:] == [("info", "media engine: kernel")]
    assert engine.name == "kernel"


@pytest.mark.parametrize(("kept", "told"), [("{}", ["lost"]), (ENCRYPTED, [])])
def test_a_call_whose_ports_are_taken_meanwhile_is_over(kept: str, told: list[str]) -> None:
    engine: Any = process.ProcessEngine(MediaSettings(), _NoReactor(), Path("/nowhere"), "python")
    causes: list[str] = []
    engine.on_fault = lambda key, fault: causes.append(fault.cause)
    engine._legs.carried.add("leg")
    engine._legs.keep("leg", kept, None)
    engine._retold({"there": False}, "leg")
    assert causes == told


def test_the_keeper_of_an_earlier_process_has_a_moment_to_begin_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[float] = []
    clock = Clock()
    monkeypatch.setattr(child.Child, "begin", lambda *_: begun.append(clock.seconds()))
    clock.advance(100.0)
    engine: Any = process.ProcessEngine(MediaSettings(), clock, tmp_path, "python")
    engine._looking.start(process.LOOK, now=False)
    engine._ready = True  # it is with one that was there
    engine._gone([])
    clock.pump([process.SEEK] * 10)
    assert begun == []
    clock.advance(child.INHERITED)
    assert len(begun) == 1


class _NoReactor:
    def seconds(self) -> float:
        return 0.0


def test_no_link_of_the_owner_leads_root_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed: list[tuple[Any, ...]] = []

    def chown(*told: Any, follow_symlinks: bool = True) -> None:
        changed.append((*told, follow_symlinks))

    monkeypatch.setattr(spread.os, "chown", chown)
    elsewhere, place = tmp_path / "elsewhere", tmp_path / "media-2"
    elsewhere.mkdir()
    place.symlink_to(elsewhere)
    owner: Any = SimpleNamespace(st_uid=place.lstat().st_uid + 1, st_gid=7)
    for _ in range(2):
        spread._begin_directory(place, owner)
    assert place.is_dir()
    assert not place.is_symlink()
    assert changed == [(place, owner.st_uid, 7, False)] * 2


# The keeper


def kept(work: str, place: Path) -> int:
    """How often the work was begun until its keeper ended."""
    code = f"""
import os, signal
from pathlib import Path
from sbc.media import keeper
keeper.FIRST_PAUSE = keeper.LONGEST_PAUSE = 0.01
def work():
    times = Path({str(place / "times")!r})
    times.write_text(times.read_text() + "x" if times.exists() else "x")
    begun = len(times.read_text())
    {work}
keeper.keep(work)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)
    return len((place / "times").read_text())


def test_work_that_is_killed_goes_on_until_it_ends_in_order(tmp_path: Path) -> None:
    assert kept("if begun < 8: os.kill(os.getpid(), signal.SIGKILL)", tmp_path) == 8


def test_work_that_cannot_be_done_is_not_begun_for_ever(tmp_path: Path) -> None:
    assert kept("raise FileNotFoundError", tmp_path) == keeper.MAX_BUGS


# What is said


@given(some.lists(MESSAGES, max_size=5), some.integers(1, 50))
def test_messages_arrive_in_whatever_pieces(messages: list[control.Message], piece: int) -> None:
    stream = b"".join(control.frame(message) for message in messages)
    frames, got = control.Frames(), []
    for start in range(0, len(stream), piece):
        got += frames.feed(stream[start : start + piece])
    assert got == messages


@given(some.binary(max_size=100))
def test_what_is_no_message_is_a_value_error(data: bytes) -> None:
    try:
        for message in control.Frames().feed(data):
            assert isinstance(message, dict)
    except ValueError:
        pass


def test_a_frame_has_a_limit_on_both_sides() -> None:
    with pytest.raises(ValueError):
        control.frame({"text": "x" * control.MAX_FRAME})
    with pytest.raises(ValueError):
        list(control.Frames().feed((control.MAX_FRAME + 1).to_bytes(4, "big")))


def test_offers_answers_counts_and_settings_arrive_as_they_were_sent() -> None:
    offer = Offer(parse(BODY), "b", "127.0.0.3", "127.0.0.9", "2001:db8::1", "sdes")
    there = control.to_offer(control.from_offer(offer))
    assert (there.session.render(), there.from_, there.toward, there.wanted) == (BODY, "b", "2001:db8::1", "sdes")
    answer = control.to_answer(control.from_answer(Answer(parse(BODY), "a", "127.0.0.4")))
    assert (answer.session.render(), answer.from_, answer.source) == (BODY, "a", "127.0.0.4")
    statistics = Statistics((StreamStatistics(1, "video", Direction(5, 6, reported_lost=1), Direction(jitter=0.5)),))
    assert control.to_statistics(control.from_statistics(statistics)) == statistics
    settings = MediaSettings(ports=Ports(30_000, 30_999), timeout=5.0, latch="open")
    assert control.to_settings(control.from_settings(settings)) == settings


# Time


def test_timers_are_due_in_order_and_can_be_cancelled() -> None:
    now, made = 10.0, []
    timers = Timers(lambda: now)
    timers.later(2, lambda: made.append("second"))
    timers.later(1, lambda: made.append("first"))
    timers.later(1.5, lambda: made.append("never")).cancel()
    assert timers.wait(60) == 1
    timers.run()
    assert made == []
    now = 13.0
    assert timers.wait(60) == 0
    timers.run()
    assert made == ["first", "second"]
    assert timers.wait(60) == 60


BOTH = {"a": True, "b": True}


def test_silence_of_both_and_of_one() -> None:
    silence, patience = Silence(0.0), Patience(both=60, one=20)
    assert silence.look({"a": 1, "b": 1}, 1.0, patience, held=False, speaking=BOTH) == ""  # type: ignore[dict-item, arg-type]
    assert silence.look({"a": 9, "b": 1}, 20.0, patience, held=False, speaking=BOTH) == ""  # type: ignore[dict-item, arg-type]
    why = silence.look({"a": 20, "b": 1}, 21.0, patience, held=False, speaking=BOTH)  # type: ignore[dict-item, arg-type]
    assert why == "no media from the callee for 20 s"
    assert silence.look({"a": 30, "b": 1}, 90.0, patience, held=False, speaking=BOTH) == "", "told once"  # type: ignore[dict-item, arg-type]
    silence.awake(90.0)
    assert silence.look({"a": 30, "b": 1}, 149.0, Patience(60, 0), held=False, speaking=BOTH) == ""  # type: ignore[dict-item, arg-type]
    assert silence.look({"a": 30, "b": 1}, 150.0, Patience(60, 0), held=False, speaking=BOTH) == "no media for 60 s"  # type: ignore[dict-item, arg-type]


def test_who_holds_or_only_listens_may_be_silent() -> None:
    silence, patience = Silence(0.0), Patience(both=0, one=5)
    assert silence.look({"a": 0, "b": 0}, 60.0, patience, held=True, speaking=BOTH) == ""  # type: ignore[dict-item, arg-type]
    only_a = {"a": True, "b": False}
    for second in range(61, 90):
        assert silence.look({"a": second, "b": 0}, second, patience, held=False, speaking=only_a) == ""  # type: ignore[dict-item, arg-type]
