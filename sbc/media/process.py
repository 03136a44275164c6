"""The relay in a process of its own (`worker.py`): started, told what to do, started again and told again.

Whichever of the two processes dies, calls go on: a new media process is told all legs with their ports, latches and
keys; a new signalling process finds the old media process and takes it over. Keys are in the memory of both and nowhere
else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from sbc.media import control
from sbc.media.child import Child, Common, Place
from sbc.media.control import Message
from sbc.media.engine import Answer, Fault, Offer, Statistics
from sbc.media.link import Link, Request, connect
from sbc.media.remembered import Handover, Remembered
from sbc.media.saying import Saying
from sbc.media.settings import MediaSettings
from sbc.media.share import Share
from sbc.media.snapshot import ENCRYPTED
from sbc.media.tally import Tally
from sbc.sip.errors import RemoteError

#: Seconds between two attempts to reach a media process that is starting.
SEEK = 0.05
#: Seconds after which a question without an answer has failed, and requests that wait for a media process do.
PATIENCE = 5.0
#: Questions that may wait for a media process.
MAX_WAITING = 10_000
#: Seconds without a word after which a media process that was asked something is killed: calls that it had go on in the
#: next one sooner than new ones could be refused.
SLOW = 2.0
#: The same when nothing was asked; it has a word to say every two.
HANGING = 6.0
#: Seconds in which a keeper that had a media process has the next one: more than its longest pause. Else it hangs, too.
REVIVAL = 8.0
#: Seconds between two looks at what takes too long.
LOOK = 0.5
#: Seconds in which a signalling process that took over a media process claims its calls; the others are ended.
CLAIM = 30.0
#: Seconds that a media process gets to end in order.
FAREWELL = 3.0

log = Logger()


class ProcessEngine:
    """An `Engine` in a media process. `wanted`: `python`, `kernel`, or `auto` for kernel where it can."""

    def __init__(
        self, settings: MediaSettings, reactor: Any, state: Path, wanted: str, place: Place | None = None
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._state = state.absolute()
        self._saying = Saying(wanted)
        self.on_fault: Callable[[str, Fault], None] = lambda key, fault: None
        self._link: Link | None = None
        self._ready = False
        self._waiting: deque[Request] = deque()
        self._legs = Remembered()
        self._pid = 0
        self._tally = Tally()
        self._place = place or Place(Share(), Common())
        self._child = Child(reactor, self._state, wanted, self._place, self._died)
        self._seeking: Any = None
        self._claiming: Any = None
        self._stopping: Deferred[None] | None = None
        self._looked_at = 0.0
        self._alone_at: float | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    # What an engine is

    @property
    def name(self) -> str:
        """What the media process said that it uses."""
        return self._saying.name

    @property
    def streams(self) -> int:
        """Media lines relayed, as last heard."""
        return self._tally["streams"]

    @property
    def packets(self) -> int:
        """Packets received from parties since the start, as last heard."""
        return self._tally["packets"]

    @property
    def pinned(self) -> int:
        """See `Engine.pinned`; as last heard."""
        return self._tally["pinned"]

    @property
    def exhausted(self) -> int:
        """See `Engine.exhausted`."""
        return self._tally["exhausted"]

    @property
    def pid(self) -> int:
        """Of what relays; 0 while it cannot be reached."""
        return self._pid

    def carries(self, key: str) -> bool:
        """See `Engine.carries`."""
        return key in self._legs.carried

    def snapshot(self, key: str) -> str | None:
        """See `Engine.snapshot`."""
        return self._legs.lasting.get(key)

    def reload(self, settings: MediaSettings) -> None:
        """See `Engine.reload`."""
        self._settings = settings
        self._ask({"do": "reload", "settings": control.from_settings(settings)}).addErrback(_told)

    def prepare(self) -> None:
        """Start a media process, unless one is there already."""
        if not self._connect():
            self._child.begin(self._settings)

    def start(self) -> None:
        """Reach it."""
        self._looked_at = self._reactor.seconds()
        self._looking.start(LOOK, now=False)
        self._seek()

    def stop(self) -> Deferred[None]:
        """End the media process."""
        stopping, later = self._rest(), self._reactor.callLater
        if self._link is None and not self._child.runs:
            return succeed(None)
        if self._link is not None:
            self._end()
        elif not self._child.kill():
            self._leave()
        ending = [later(FAREWELL, self._child.kill), later(2 * FAREWELL, self._let_go)]
        stopping.addCallback(lambda _: [each.cancel() for each in ending if each.active()] and None)
        return stopping

    def leave(self) -> Deferred[None]:
        """See `Engine.leave`: the media process goes on, and waits for the next one of ours."""
        self._rest()
        if self._link is not None:
            self._link.transport.loseConnection()
        return succeed(None)

    def _rest(self) -> Deferred[None]:
        """No media process is sought any more; gives what `_let_go` fires."""
        self._stopping = resting = Deferred[None]()
        if self._looking.running:
            self._looking.stop()
        for waiting in (self._seeking, self._claiming):
            if waiting is not None and waiting.active():
                waiting.cancel()
        self._seeking = None
        return resting

    def _leave(self) -> None:
        """Ask a media process to end that is just coming up."""
        if self._connect():
            self._end()
        elif self._stopping is not None and not self._stopping.called:
            self._reactor.callLater(SEEK, self._leave)

    def offer(self, key: str, offer: Offer) -> Deferred[bytes]:
        """See `Engine.offer`."""
        self._legs.known.add(key)
        request = {"do": "offer", "key": key, **control.from_offer(offer)}
        return self._ask(request).addCallback(self._offered, key, request)

    def answer(self, key: str, answer: Answer) -> Deferred[bytes]:
        """See `Engine.answer`."""
        if key not in self._legs.carried:
            return fail(RemoteError(503, b"Media Lost"))
        self._legs.answered(key, answer.from_)
        return self._ask({"do": "answer", "key": key, **control.from_answer(answer)}).addCallback(control.description)

    def restore(self, key: str, text: str) -> Deferred[bool]:
        """See `Engine.restore`."""
        self._legs.known.add(key)
        return self._ask({"do": "restore", "key": key, "text": text}).addCallback(self._restored, key)

    def release(self, key: str) -> Deferred[Handover]:
        """End a leg here so that another engine of this node can `take` it; without text it stays."""
        offers = list(self._legs.open_offers(key))
        return self._ask({"do": "release", "key": key}).addCallback(self._released, key, offers)

    def take(self, key: str, handover: Handover) -> Deferred[bool]:
        """Go on with the leg of another engine. Returns whether that can be."""
        taken = self.restore(key, handover.text)
        for offer in handover.offers:
            self._legs.offered(key, offer["from"], offer)
            self._ask(offer).addErrback(_told)
        return taken

    def close(self, key: str) -> Deferred[Statistics]:
        """See `Engine.close`."""
        if key not in self._legs:
            return succeed(Statistics())
        self._legs.forget(key)
        return self._ask({"do": "close", "key": key}).addCallbacks(self._closed, _nothing, callbackArgs=(key,))

    # What it answered

    def _offered(self, reply: Message, key: str, request: Message) -> bytes:
        self._tally.streams(reply["streams_now"])
        if reply["carried"]:
            self._legs.offered(key, request["from"], request)
        return control.description(reply)

    def _restored(self, reply: Message, key: str) -> bool:
        self._tally.streams(reply["streams_now"])
        self._legs.unclaimed.discard(key)
        if reply["there"]:
            self._legs.carried.add(key)
        return bool(reply["there"])

    def _released(self, reply: Message, key: str, offers: list[Message]) -> Handover:
        if reply["text"]:
            self._legs.forget(key)
            self._tally.streams(reply["streams_now"])
        return Handover(reply["text"], offers, control.to_statistics(reply["streams"]))

    def _closed(self, reply: Message, key: str) -> Statistics:
        self._legs.forget(key)
        self._tally.streams(reply["streams_now"])
        return control.to_statistics(reply["streams"])

    def _event(self, message: Message) -> None:
        key = message.get("key", "")
        if message["event"] == "kept":
            self._legs.keep(key, message["text"], message["lasting"])
        elif message["event"] == "fault":
            self.on_fault(key, Fault(message["cause"], message["text"]))
        elif message["event"] == "counts":
            self._tally.told(message)
        elif message["event"] == "uses":
            self._saying.say(message)

    # The connection

    def _ask(self, message: Message) -> Deferred[Message]:
        request = Request(message, self._reactor.seconds())
        if self._link is not None and self._ready:
            self._link.put(request)
        elif len(self._waiting) < MAX_WAITING and self._stopping is None:
            self._waiting.append(request)
        else:
            request.answer.errback(RemoteError(503, b"Media Relay Away"))
        return request.answer

    def _connect(self) -> bool:
        link = Link(self._reactor.seconds, self._event, self._gone)
        if not connect(self._reactor, self._state, link):
            return False
        self._link = link
        hello: Message = {"do": "hello", "version": control.VERSION, "settings": control.from_settings(self._settings)}
        hello |= {"identity": self._place.common.identity, "share": self._place.share}
        request = Request(hello, self._reactor.seconds())
        request.answer.addCallback(self._greeted).addErrback(self._misunderstood)
        link.put(request)
        return True

    def _greeted(self, reply: Message) -> None:
        if not reply["fits"]:
            log.warn("the media process there is of another version or uses other ports; its calls end")
            self._end()
            return
        self._saying.say(reply)
        self._pid = reply["pid"]
        self._place.common.identity = reply["identity"]
        self._ready, self._alone_at = True, None
        for key in self._legs.found(reply["legs"]):
            self._retell(key)
        if self._legs.unclaimed:
            self._claiming = self._reactor.callLater(CLAIM, self._end_unclaimed)
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            self._link.put(request)  # type: ignore[union-attr]

    def _misunderstood(self, failure: Failure) -> None:
        """Most likely it is one of another version."""
        log.failure("the media process does not answer as expected; its calls end", failure)
        self._end()

    def _end(self) -> None:
        if self._link is not None:
            self._link.put(Request({"do": "end"}, self._reactor.seconds()))

    def _retell(self, key: str) -> None:
        """A new media process: it learns of a leg of the one before."""
        text = self._legs.kept(key)
        if text is None:
            self._legs.carried.discard(key)
            self.on_fault(key, Fault("lost", "the media process ended"))
            return
        self._ask({"do": "restore", "key": key, "text": text}).addCallback(self._retold, key).addErrback(_told)
        for offer in self._legs.open_offers(key):
            self._ask(offer).addErrback(_told)

    def _retold(self, reply: Message, key: str) -> None:
        if not reply["there"] and key in self._legs.carried:
            log.warn("a call's media could not be taken over: {key}", key=key)
            self._legs.carried.discard(key)
            if self._legs.kept(key) != ENCRYPTED:  # of those the media process itself will tell, when phones are back
                self.on_fault(key, Fault("lost", "its ports or its keys could not be had again"))

    def _end_unclaimed(self) -> None:
        """Those that nobody has asked for: an answer that is still on its way is a claim too."""
        for key in self._legs.unclaimed - self._legs.known:
            self.close(key)

    def _gone(self, unanswered: list[Request]) -> None:
        """The connection is lost, and with it, most likely, the media process."""
        known = self._ready
        self._link, self._ready, self._pid = None, False, 0
        if known:
            self._alone_at = self._reactor.seconds()
            self._child.give_way()
        self._tally.gone()
        self._waiting.extendleft(each for each in reversed(unanswered) if each.message["do"] not in ("hello", "end"))
        if self._stopping is not None:
            self._ended_in_order()
        elif self._looking.running:
            log.error("the media process is gone; its calls wait for the next one")
            if known:
                self._seek()
            elif self._seeking is None:
                self._seeking = self._reactor.callLater(SEEK, self._seek)

    def _seek(self) -> None:
        """Reach a media process; start one when none is there."""
        self._seeking = None
        if self._link is not None or self._stopping is not None or self._connect():
            return
        if self._child.may_begin:
            self._child.begin(self._settings)
            self._alone_at = None  # it takes as long as it takes
        self._seeking = self._reactor.callLater(SEEK, self._seek)

    def _look(self) -> None:
        """Give up what takes too long."""
        now = self._reactor.seconds()
        late, self._looked_at = now - self._looked_at > 2 * LOOK, now
        if late:  # it was we who stood still, and what was said meanwhile is not read yet
            return
        while self._waiting and now - self._waiting[0].asked_at >= PATIENCE:
            self._waiting.popleft().answer.errback(RemoteError(503, b"Media Relay Away"))
        if self._link is not None:
            if self._link.owes() >= SLOW or now - self._link.heard_at >= HANGING:
                log.error("the media process hangs and is killed")
                self._child.give_way()
                if not self._link.kill():
                    self._child.kill()
        elif self._alone_at is not None and now - self._alone_at >= REVIVAL:
            self._child.kill()

    # The process

    def _died(self, how: str) -> None:
        if self._stopping is not None:
            self._ended_in_order()
            return
        log.error("the media process ended: {how}", how=how)
        if self._looking.running and self._seeking is None:
            self._seek()

    def _ended_in_order(self) -> None:
        if not self._child.runs and self._link is None:
            self._let_go()

    def _let_go(self) -> None:
        """Whatever has become of it."""
        self._place.common.close()
        if self._stopping is not None and not self._stopping.called:
            self._stopping.callback(None)


def _nothing(failure: Failure) -> Statistics:
    failure.trap(RemoteError)  # type: ignore[no-untyped-call]
    return Statistics()


def _told(failure: Failure) -> None:
    """Nobody waits for it: the log has it."""
    log.warn("the media process refused: {why}", why=failure.getErrorMessage())
