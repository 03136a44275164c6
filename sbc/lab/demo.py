"""``python -m sbc.lab.demo``: one complete call to a sleeping phone, through a real SBC process, told step by step.

In: nothing (``--transport``, ``--provider``, ``--dialect`` choose variants). Out: the story on standard output; exit
code 0 only when every step happened. Everything is on loopback addresses and in a temporary directory, and gone
afterwards.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.defer import TimeoutError as LateError
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.task import deferLater, react

from sbc.lab.border import Border, BorderError
from sbc.lab.diary import Entry
from sbc.lab.party import NoAnswerError
from sbc.lab.phone import Manners, Phone
from sbc.lab.received import ReceivedPush
from sbc.lab.speech import DIALECTS
from sbc.lab.story import Story, tell_sbc
from sbc.lab.world import BORDER, UDP_AWAKE, World

LIMIT = 90.0  # s for all steps, five on an idle machine; the end of the SBC takes `border.STOP_TIME` more at most
STEP = 30.0  # s for one step
TALK = 1.0  # s of conversation
ENOUGH = 25  # RTP packets each way in that time; 50 are sent


class StepError(Exception):
    """A step did not happen."""


class Demo:
    """One run."""

    def __init__(self, reactor: Any, directory: Path, transport: str, provider: str, dialect: str) -> None:
        self.reactor = reactor
        self.story = Story(reactor.seconds)
        self.world = World(reactor, directory, users={"bob": "bobs-secret"}, providers=(provider,))
        self.upper = self.world.upper
        self.transport = transport
        self.provider = provider
        self.dialect = dialect

    # -- the steps ----------------------------------------------------------------------------------------------

    @inlineCallbacks
    def run(self) -> Any:
        """All steps; fails with what went wrong."""
        story, world = self.story, self.world
        yield world.start(border=False)
        story.say("lab", f"{self.provider} emulated at {world.service(self.provider).url}")
        story.say("lab", f"upper server at {self.upper.uri}, domain {self.upper.domain}")
        yield world.restart()
        border = world.border
        story.did("SBC", f"process {border.pid} is ready: SIP {BORDER}:{world.sip} (UDP, TCP)")
        story.say("SBC", f"web page {border.web}/   metrics {border.web}/metrics   health {border.web}/healthz")
        manners = Manners(wake_delay=0.4, ring_delay=0.05, answer_delay=0.4)
        more = {"transport": self.transport, "dialect": self.dialect, "manners": manners}
        phone = world.phone("bob", provider=self.provider, **more)
        yield self._registers(phone)
        yield self._sleeps(phone)
        call = yield self._rings(phone)
        yield self._talks(phone, call)
        yield self._ends(phone, call)
        yield self._tells(border, call.call_id.decode())

    @inlineCallbacks
    def _registers(self, phone: Phone) -> Any:
        response = yield self._within(phone.start(), "the phone registers")
        self._expect(response.status == 200, f"REGISTER was answered {response.status}")
        trips = len(self.upper.saw("REGISTER"))
        self._expect(self.upper.contact_of("bob") is not None, "the upper server has no binding")
        self.story.did("phone", f"REGISTER from {_at(phone)} with its {self.provider} token ({self.dialect}): 200")
        contact = self.upper.contact_of("bob")
        assert contact is not None
        self.story.say("upper", f"saw {trips} REGISTERs, challenged once; bob is at {contact.uri.decode()}")
        private = (b"x-mpush", b"x-piid")
        clean = not any(seen.request.has(name) for seen in self.upper.saw("REGISTER") for name in private)
        token = phone.token.prid[:16].encode() if phone.token is not None else b""
        clean = clean and not any(token in seen.request.render() for seen in self.upper.saw("REGISTER"))
        self._expect(clean, "the upper server saw the push token")

    @inlineCallbacks
    def _sleeps(self, phone: Phone) -> Any:
        yield phone.sleep()
        self.story.did("phone", "falls asleep: its socket is closed, the app is gone")
        yield deferLater(self.reactor, UDP_AWAKE + 0.2 if self.transport == "udp" else 0.2, lambda: None)

    @inlineCallbacks
    def _rings(self, phone: Phone) -> Any:
        call = self.upper.place_call("bob", caller="alice", display="Alice", headers=[(b"x-demo", b"hello")])
        self.story.did("upper", "INVITE from Alice to bob, sent to the SBC")
        for count in (1, 2):
            heard = call.diary.when("provisional", count)
            heard.addCallback(lambda entry: self.story.say("upper", f"hears {_status(entry)}"))
        pushed = yield self._within(phone.diary.when("push"), "the push arrives at the phone")
        push: ReceivedPush = pushed.detail
        self.story.did(self.provider, f"accepted the push: {_what(push)}")
        yield self._within(phone.diary.when("registered", 2), "the woken phone registers")
        self.story.did("phone", f"woke up and registered from {_at(phone)}, another port")
        yield self._within(phone.diary.when("invite"), "the INVITE reaches the phone")
        self.story.did("phone", "INVITE arrived")
        final = yield self._within(call.diary.when("final"), "the call is answered")
        status = getattr(final.detail, "status", 0)
        self._expect(status == 200, f"the caller got {status or final.detail}")
        self._expect(phone.saw("INVITE")[0].request.first(b"x-demo") == b"hello", "a header of the caller was lost")
        self.story.did("upper", "180 and 200 came back: Bob answered")
        return call

    @inlineCallbacks
    def _talks(self, phone: Phone, call: Any) -> Any:
        yield deferLater(self.reactor, TALK, lambda: None)
        heard, said = call.media, phone.calls[-1].media
        assert said is not None
        self.story.say("RTP", f"Alice sent {heard.sent}, Bob received {said.heard['alice']}, lost {said.lost}")
        self.story.say("RTP", f"Bob sent {said.sent}, Alice received {heard.heard['bob']}, lost {heard.lost}")
        both = said.heard["alice"] >= ENOUGH and heard.heard["bob"] >= ENOUGH
        self._expect(both, f"less than {ENOUGH} packets each way")
        through = {host for host, _ in heard.sources | said.sources}
        self._expect(through == {BORDER}, f"sound came from {', '.join(sorted(through))}, not through the SBC")
        self.story.did("RTP", f"sound both ways for {TALK:g} s, all of it through the SBC's relay")

    @inlineCallbacks
    def _ends(self, phone: Phone, call: Any) -> Any:
        response = yield self._within(call.hang_up(), "BYE is answered")
        self._expect(response.status == 200, f"BYE was answered {response.status}")
        yield self._within(phone.diary.when("ended"), "the phone hears the BYE")
        self.story.did("upper", "Alice hung up: BYE 200, the phone heard it")
        for method in ("INVITE", "ACK", "BYE"):
            count = len(phone.saw(method))
            self._expect(count == 1, f"the phone saw {count} {method}s instead of one")
        self.story.did("phone", "saw one INVITE, one ACK and one BYE in all")

    @inlineCallbacks
    def _tells(self, border: Border, call_id: str) -> Any:
        metrics = yield self._within(border.metrics(), "/metrics answers")
        code = yield self._within(border.stop(), "the SBC stops")
        self._expect(code == 0, f"the SBC ended with code {code}\n{border.output[-2000:]}")
        missing = tell_sbc(self.story, border, call_id, metrics)
        self._expect(not missing, f"the SBC's own story lacks {', '.join(missing)}")
        self.story.did("SBC", "stopped in order; its own record of the call is complete")

    # -- inside -------------------------------------------------------------------------------------------------

    def _within(self, waiting: Deferred[Any], what: str) -> Deferred[Any]:
        def late(reason: Any) -> Any:
            if reason.check(CancelledError):
                raise StepError(f"not within {STEP:g} s: {what}")
            return reason

        return waiting.addTimeout(STEP, self.reactor, lambda result, _: result).addErrback(late)

    def _expect(self, true: bool, otherwise: str) -> None:
        if not true:
            raise StepError(otherwise)


def _at(phone: Phone) -> str:
    wire = phone.wire
    assert wire is not None
    return f"{wire.transport.decode()} {wire.address.decode()}"


def _status(entry: Entry) -> str:
    return f"{entry.detail.status} {entry.detail.reason.decode('utf-8', 'replace')}"


def _what(push: ReceivedPush) -> str:
    if push.provider == "apns":
        headers = push.headers
        said = ", ".join(
            f"{name[5:]} {headers[name]}"
            for name in ("apns-topic", "apns-push-type", "apns-priority")
            if name in headers
        )
        return f"{said}, {len(push.body)} bytes"
    return f"{len(push.body)} bytes"


@inlineCallbacks
def _run(reactor: Any, transport: str, provider: str, dialect: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="sbc-demo-") as directory:
        demo = Demo(reactor, Path(directory), transport, provider, dialect)
        failure = output = ""
        try:
            yield demo.run().addTimeout(LIMIT, reactor)
        except BorderError as error:
            failure = str(error)
        except (StepError, NoAnswerError, ConnectError, ConnectionClosed, OSError, LookupError, LateError) as error:
            failure = str(error) or type(error).__name__
            output = demo.world.output
        finally:
            yield demo.world.stop()
        if output:
            demo.story.events(demo.world.border)
        if failure:
            demo.story.failed(failure)
            print(output, file=sys.stderr)
            raise SystemExit(1)
        demo.story.finished()


def run(arguments: Sequence[str]) -> None:
    """The command: ends in SystemExit, with 0 only when every step happened."""
    parser = argparse.ArgumentParser(prog="demo", description="One call to a sleeping phone through a real SBC.")
    parser.add_argument("--transport", choices=("udp", "tcp"), default="tcp", help="between the phone and the SBC")
    parser.add_argument("--provider", choices=("apns", "fcm", "webpush"), default="apns")
    parser.add_argument("--dialect", choices=DIALECTS[1:], default="x-mpush", help="how the app hands its token over")
    chosen = parser.parse_args(arguments)
    finished: list[bool] = []

    def whole(reactor: Any) -> Deferred[None]:
        done: Deferred[None] = _run(reactor, chosen.transport, chosen.provider, chosen.dialect)
        return done.addCallback(lambda _: finished.append(True))

    try:
        react(whole, ())
    except SystemExit as end:
        # A reactor that was stopped by a signal ends with 0, wherever the demo was.
        raise SystemExit(end.code if end.code or finished else 1) from None


if __name__ == "__main__":
    run(sys.argv[1:])
