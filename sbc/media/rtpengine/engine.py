"""An `Engine` whose packets other programs move."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from sbc.media.engine import Answer, Fault, Offer, Side, Statistics, other
from sbc.media.protection import Mode, Protection
from sbc.media.rtpengine import ng
from sbc.media.rtpengine.daemons import PING, Asking, SilentError, best
from sbc.media.rtpengine.ng import Command
from sbc.media.sdp import Session, parse
from sbc.media.settings import MediaSettings
from sbc.media.silence import Patience, Silence
from sbc.sip.errors import RemoteError

#: Seconds between two looks at the counts of a leg, at most; more often where the time-out is short.
LOOK = 10.0
#: Seconds between two turns of looking; each asks for its share of the legs.
TURN = 1.0

log = Logger()


@dataclass(slots=True)
class _Leg:
    """A leg at a daemon: what each party is shown, how it protects its media (`modes`: as `ng.towards` wants it),
    `looked_at` when its counts were last asked for."""

    daemon: Asking
    addresses: dict[Side, str]
    silence: Silence
    protections: dict[Side, Protection] = field(default_factory=dict)
    modes: dict[Side, Mode] = field(default_factory=dict)
    held: dict[Side, bool] = field(default_factory=dict)
    lines: int = 0
    answered: bool = False
    packets: int = 0
    looked_at: float = 0.0


class RtpengineEngine:
    """Legs are spread over the daemons of `media.rtpengine`; a new one goes to one that answers. A leg stays at its
    daemon: when that dies, its calls end."""

    name = "rtpengine"

    def __init__(self, settings: MediaSettings, reactor: Any, random: Callable[[int], bytes] = token_bytes) -> None:
        self._reactor = reactor
        self.daemons = [Asking(reactor, (host, port), random) for host, port in settings.rtpengine]
        self._ports: list[Any] = []
        self._legs: dict[str, _Leg] = {}
        self._placing: set[str] = set()
        self._ended_packets = 0
        self.exhausted = 0
        self.pinned = 0
        self.on_fault: Callable[[str, Fault], None] = lambda key, fault: None
        self._clocks = [LoopingCall(self._ping), LoopingCall(self._turn)]
        for clock in self._clocks:
            clock.clock = reactor
        self.reload(settings)

    @property
    def streams(self) -> int:
        """Media lines relayed."""
        return sum(leg.lines for leg in self._legs.values())

    @property
    def packets(self) -> int:
        """Packets as last heard."""
        return self._ended_packets + sum(leg.packets for leg in self._legs.values())

    def carries(self, key: str) -> bool:
        """See `Engine.carries`."""
        return key in self._legs

    def reload(self, settings: MediaSettings) -> None:
        """See `Engine.reload`; the daemons stay those of the start."""
        self._patience = Patience(settings.timeout, settings.timeout_one)
        waits = [each for each in (settings.timeout, settings.timeout_one) if each]
        self._look = min([LOOK, *(each / 3 for each in waits)])

    def prepare(self) -> None:
        """Open a socket to each daemon."""
        for daemon in self.daemons:
            host = "::" if ":" in daemon.address[0] else ""
            port = self._reactor.listenUDP(0, daemon, interface=host, maxPacketSize=65_535)
            self._ports.append(port)

    def start(self) -> None:
        """Ask whether they are there."""
        for clock, seconds in zip(self._clocks, (PING, TURN), strict=True):
            clock.start(seconds)

    def stop(self) -> Deferred[None]:
        """End all legs."""
        return self._stopped([self.close(key) for key in tuple(self._legs)])

    def leave(self) -> Deferred[None]:
        """See `Engine.leave`: the daemons go on."""
        return self._stopped([])

    @inlineCallbacks
    def _stopped(self, closing: list[Deferred[Statistics]]) -> Any:
        for clock in self._clocks:
            if clock.running:
                clock.stop()
        yield gatherResults(closing)
        for daemon, port in zip(self.daemons, self._ports, strict=False):
            daemon.close()
            yield port.stopListening()

    @inlineCallbacks
    def offer(self, key: str, offer: Offer) -> Any:
        """See `Engine.offer`."""
        leg = self._legs.get(key)
        was = ng.protection(offer.session)
        if was.mode not in ("plain", "other"):
            was.demand()
        mode = ng.towards(was, offer.wanted, None if leg is None else leg.modes.get(other(offer.from_)))
        command = ng.offer(key, offer, was, mode)
        if leg is None:
            self._placing.add(key)
            try:
                leg, reply = yield self._place(offer, command)
                if key not in self._placing:  # closed meanwhile
                    leg.daemon.ask(ng.delete(key)).addErrback(_passed)
                    raise RemoteError(503, b"Media Closed")
            finally:
                self._placing.discard(key)
            self._legs[key] = leg
            leg.daemon.legs += 1
        else:
            reply = yield self._at(leg, command)
        leg.protections[offer.from_] = was
        leg.modes[offer.from_] = was.mode
        leg.modes[other(offer.from_)] = mode or was.mode
        self._described(leg, offer.session, offer.from_)
        return _description(reply)

    @inlineCallbacks
    def answer(self, key: str, answer: Answer) -> Any:
        """See `Engine.answer`."""
        leg = self._legs.get(key)
        if leg is None:
            return answer.session.render()
        asked = other(answer.from_)
        offered = leg.protections.get(asked) or Protection("plain", b"RTP/AVP")
        command = ng.answer(key, answer.session, answer.from_, answer.source, leg.addresses[asked], offered)
        reply = yield self._at(leg, command)
        leg.answered = True
        self._described(leg, answer.session, answer.from_)
        return _description(reply)

    def snapshot(self, key: str) -> str | None:
        """See `Engine.snapshot`."""
        leg = self._legs.get(key)
        if leg is None or not leg.answered:
            return None
        return json.dumps({"rtpengine": leg.daemon.name, "addresses": leg.addresses, "modes": leg.modes})

    @inlineCallbacks
    def restore(self, key: str, text: str) -> Any:
        """See `Engine.restore`: the daemon went on meanwhile."""
        try:
            kept = json.loads(text)
            daemon = next(each for each in self.daemons if each.name == kept["rtpengine"])
            addresses: dict[Side, str] = {"a": str(kept["addresses"]["a"]), "b": str(kept["addresses"]["b"])}
            modes = {side: kept["modes"][side] for side in kept["modes"]}
        except (ValueError, TypeError, KeyError, StopIteration):
            return False
        try:
            reply = yield daemon.ask(ng.query(key))
        except (SilentError, RemoteError):
            return False
        leg = _Leg(daemon, addresses, Silence(self._reactor.seconds()), modes=modes, answered=True)
        leg.lines = len(ng.statistics(reply).streams)
        self._legs[key] = leg
        daemon.legs += 1
        return True

    @inlineCallbacks
    def close(self, key: str) -> Any:
        """See `Engine.close`."""
        leg = self._legs.pop(key, None)
        self._placing.discard(key)
        if leg is None:
            return Statistics()
        leg.daemon.legs -= 1
        try:
            reply = yield leg.daemon.ask(ng.delete(key))
        except (SilentError, RemoteError):
            return Statistics()
        statistics = ng.statistics(reply)
        self._ended_packets += statistics.packets
        return statistics

    @inlineCallbacks
    def _place(self, offer: Offer, command: Command) -> Any:
        """Find a daemon for a new leg: its leg there, and its reply."""
        addresses: dict[Side, str] = {offer.from_: offer.back, other(offer.from_): offer.toward}
        refused: RemoteError | None = None
        for daemon in best(self.daemons):
            try:
                reply = yield daemon.ask(command)
            except SilentError:
                continue
            except RemoteError as refusal:
                if refusal.status != 503:
                    raise
                refused = refusal
                continue
            return _Leg(daemon, addresses, Silence(self._reactor.seconds())), reply
        self.exhausted += refused is not None
        raise refused or RemoteError(503, b"No Media Relay Answers")

    @inlineCallbacks
    def _at(self, leg: _Leg, command: Command) -> Any:
        try:
            reply = yield leg.daemon.ask(command)
        except SilentError:
            raise RemoteError(503, b"Media Relay Does Not Answer") from None
        return reply

    def _described(self, leg: _Leg, session: Session, side: Side) -> None:
        leg.held[side] = all(session.held(media) for media in session.media)
        leg.lines = sum(1 for media in session.media if media.port)
        leg.silence.awake(self._reactor.seconds())

    # Watching

    def _ping(self) -> None:
        for daemon in self.daemons:
            daemon.ping()

    def _turn(self) -> None:
        """Look at the legs whose turn it is."""
        now = self._reactor.seconds()
        for key, leg in tuple(self._legs.items()):  # one that is lost is closed at once
            if leg.answered and now - leg.looked_at >= self._look:
                leg.looked_at = now
                asked = leg.daemon.ask(ng.query(key))
                asked.addCallbacks(self._heard, self._missing, callbackArgs=(key, leg), errbackArgs=(key, leg))
                asked.addErrback(lambda failure: log.failure("a leg could not be looked at", failure))

    def _heard(self, reply: Command, key: str, leg: _Leg) -> None:
        heard = ng.heard(reply)
        leg.packets = sum(heard.values())
        both: dict[Side, bool] = {"a": True, "b": True}
        held = any(leg.held.values())
        why = leg.silence.look(heard, self._reactor.seconds(), self._patience, held=held, speaking=both)
        if why and self._legs.get(key) is leg:
            self.on_fault(key, Fault("timeout", why))

    def _missing(self, failure: Any, key: str, leg: _Leg) -> None:
        """The daemon does not know it (it began anew), or is gone."""
        failure.trap(SilentError, RemoteError)
        gone = failure.check(SilentError) is None
        if self._legs.get(key) is leg and (gone or not leg.daemon.alive):
            why = "has begun anew" if gone else "does not answer"
            self.on_fault(key, Fault("lost", f"rtpengine {leg.daemon.name} {why}"))


def _passed(failure: Any) -> None:
    """The daemon ends it by itself then."""
    failure.trap(SilentError, RemoteError)


def _description(reply: Command) -> bytes:
    """What the daemon answered."""
    description = bytes(reply.get("sdp", b""))
    parse(description)
    return description
