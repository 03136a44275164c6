"""Several media processes as one engine: each leg is in one of them, and the death of one concerns only its own.

Legs that are led to each other, as upper servers do that take no part in the media, must be in one process: it alone
sees that their packets do not go in circles. So a leg that is described with a port of another process goes there, with
its ports, latches and keys.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, gatherResults, inlineCallbacks, succeed
from twisted.logger import Logger

from sbc.media.addresses import canonical
from sbc.media.child import Common, Place
from sbc.media.dtls import Identity
from sbc.media.engine import Answer, Fault, Offer, Statistics
from sbc.media.process import ProcessEngine
from sbc.media.remembered import Handover
from sbc.media.sdp import Session
from sbc.media.settings import MediaSettings
from sbc.media.share import Share, pairs
from sbc.media.snapshot import place, ports_of, worker_of
from sbc.sip.errors import RemoteError

T = TypeVar("T")

log = Logger()


class Spread:
    """An `Engine` of as many media processes as the settings say; the first has the state directory `state`, each other
    one a directory in it."""

    def __init__(self, settings: MediaSettings, reactor: Any, state: Path, wanted: str) -> None:
        self._pairs = pairs(settings.ports.first, settings.ports.last)
        self._count = count = settings.workers
        common = Common(Identity().memory.decode("ascii"))
        self._states = [state, *(state / f"media-{number}" for number in range(2, count + 1))]
        self.engines = [
            ProcessEngine(settings, reactor, each, wanted, Place(Share(number, count), common))
            for number, each in enumerate(self._states)
        ]
        self._homes: dict[str, ProcessEngine] = {}
        self._moved: dict[int, ProcessEngine] = {}
        self._before: dict[str, tuple[Statistics, list[int]]] = {}
        self._moving: dict[str, DeferredLock] = {}
        self._turn = DeferredLock()
        self._shown: set[str] = set()

    # What an engine is

    @property
    def on_fault(self) -> Callable[[str, Fault], None]:
        """See `Engine.on_fault`."""
        return self.engines[0].on_fault

    @on_fault.setter
    def on_fault(self, callback: Callable[[str, Fault], None]) -> None:
        for engine in self.engines:
            engine.on_fault = callback

    @property
    def name(self) -> str:
        """What the first of them uses."""
        return self.engines[0].name

    @property
    def streams(self) -> int:
        """See `Engine.streams`."""
        return sum(engine.streams for engine in self.engines)

    @property
    def packets(self) -> int:
        """See `Engine.packets`."""
        return sum(engine.packets for engine in self.engines)

    @property
    def pinned(self) -> int:
        """See `Engine.pinned`."""
        return sum(engine.pinned for engine in self.engines)

    @property
    def exhausted(self) -> int:
        """See `Engine.exhausted`."""
        return sum(engine.exhausted for engine in self.engines)

    def reload(self, settings: MediaSettings) -> None:
        """See `Engine.reload`."""
        for engine in self.engines:
            engine.reload(settings)

    def prepare(self) -> None:
        """See `Engine.prepare`."""
        owner = self._states[0].stat()
        for state in self._states[1:]:
            _begin_directory(state, owner)
        for engine in self.engines:
            engine.prepare()

    def leave(self) -> Deferred[None]:
        """See `Engine.leave`."""
        return gatherResults([engine.leave() for engine in self.engines]).addCallback(lambda _: None)

    def start(self) -> None:
        """See `Engine.start`."""
        for engine in self.engines:
            engine.start()

    def stop(self) -> Deferred[None]:
        """See `Engine.stop`."""
        return gatherResults([engine.stop() for engine in self.engines]).addCallback(lambda _: None)

    def carries(self, key: str) -> bool:
        """See `Engine.carries`."""
        return key in self._moving or any(engine.carries(key) for engine in self.engines)

    def offer(self, key: str, offer: Offer) -> Deferred[bytes]:
        """See `Engine.offer`."""
        self._shown.update((canonical(offer.back), canonical(offer.toward)))
        return self._described(key, offer.session, lambda engine: engine.offer(key, offer))

    def answer(self, key: str, answer: Answer) -> Deferred[bytes]:
        """See `Engine.answer`."""
        return self._described(key, answer.session, lambda engine: engine.answer(key, answer))

    def snapshot(self, key: str) -> str | None:
        """See `Engine.snapshot`."""
        home = self._home(key)
        text = None if home is None else home.snapshot(key)
        if home is None or text is None:
            return None
        return place(text, self.engines.index(home))

    def restore(self, key: str, text: str) -> Deferred[bool]:
        """See `Engine.restore`."""
        home = self._homes[key] = self.engines[worker_of(text) % self._count]
        return home.restore(key, text).addCallback(self._restored, key, text, home)

    def close(self, key: str) -> Deferred[Statistics]:
        """See `Engine.close`."""
        return self._on(key, lambda: self._close(key))

    # Where legs are

    def _home(self, key: str) -> ProcessEngine | None:
        known = self._homes.get(key)
        return known or next((engine for engine in self.engines if engine.carries(key)), None)

    def _least(self) -> ProcessEngine:
        """The one with the fewest legs, of those that can be reached."""
        legs = Counter(id(engine) for engine in self._homes.values())
        return min(self.engines, key=lambda engine: (engine.pid == 0, legs[id(engine)]))

    def _named(self, session: Session) -> ProcessEngine | None:
        """Whose port this description speaks of, if it is one of ours."""
        for media in session.media:
            told = session.rtp_place(media)
            if told is not None and canonical(told.host) in self._shown:
                port = told.port - (told.port - self._pairs.start) % 2
                if port in self._pairs:
                    owner = Share(0, self._count).owner(self._pairs, port)
                    return self._moved.get(port, self.engines[owner])
        return None

    def _described(
        self, key: str, session: Session, ask: Callable[[ProcessEngine], Deferred[bytes]]
    ) -> Deferred[bytes]:
        return self._on(key, lambda: self._place(key, session, ask))

    def _place(self, key: str, session: Session, ask: Callable[[ProcessEngine], Deferred[bytes]]) -> Deferred[bytes]:
        home, named = self._home(key), self._named(session)
        astray = home is not None and named not in (None, home) and home.carries(key)
        self._homes[key] = home = home or named or self._least()
        return self._move(key, session, ask) if astray else ask(home).addBoth(self._carried, key)

    def _carried(self, result: T, key: str) -> T:
        """A description that needed no relay leaves no leg."""
        home = self._homes.get(key)
        if home is not None and not home.carries(key):
            del self._homes[key]
        return result

    def _on(self, key: str, call: Callable[[], Deferred[T]]) -> Deferred[T]:
        """Make this call when the leg is not just moving."""
        lock = self._moving.get(key)
        return call() if lock is None else lock.run(call)

    @inlineCallbacks
    def _move(self, key: str, session: Session, ask: Callable[[ProcessEngine], Deferred[bytes]]) -> Any:
        """Ask the process that has to have the leg, with the leg. Whoever asks meanwhile waits."""
        lock = self._moving[key] = DeferredLock()
        yield lock.acquire()
        try:
            yield self._turn.run(self._bring, key, session)
            return (yield ask(self._homes[key]))
        finally:
            del self._moving[key]
            lock.release()

    @inlineCallbacks
    def _bring(self, key: str, session: Session) -> Any:
        """Move a leg. One after the other: an upper server leads two legs to each other in the same moment, and where
        each went to the place of the other one, they would pass each other by."""
        old, new = self._homes[key], self._named(session)
        if new is None or new is old:
            return
        handover = yield old.release(key)
        if not handover.text:
            return
        self._note(key, new, handover)
        try:
            there = yield new.take(key, handover)
        except RemoteError:
            there = False
        if not there:
            log.warn("a call's media could not be moved: {key}", key=key)
            self.on_fault(key, Fault("lost", "it could not be moved to another media process"))

    def _note(self, key: str, new: ProcessEngine, handover: Handover) -> None:
        before, _ = self._before.get(key, (Statistics(), []))
        ports = ports_of(handover.text)
        self._homes[key] = new
        self._before[key] = before.plus(handover.statistics), ports
        self._moved.update(dict.fromkeys(ports, new))

    def _restored(self, there: bool, key: str, text: str, home: ProcessEngine) -> bool:
        ports = ports_of(text)
        if there and any(self._named_by(port) is not home for port in ports):
            self._before[key] = Statistics(), ports
            self._moved.update(dict.fromkeys(ports, home))
        return there

    def _named_by(self, port: int) -> ProcessEngine:
        return self.engines[Share(0, self._count).owner(self._pairs, port)]

    def _close(self, key: str) -> Deferred[Statistics]:
        home = self._home(key)
        self._homes.pop(key, None)
        before, ports = self._before.pop(key, (Statistics(), []))
        for port in ports:
            self._moved.pop(port, None)
        return succeed(before) if home is None else home.close(key).addCallback(before.plus)


def _begin_directory(state: Path, owner: os.stat_result) -> None:
    """Make it this owner's, who has the one around it and may have put there what root should not touch."""
    if state.is_symlink():
        state.unlink()
    state.mkdir(mode=0o700, exist_ok=True)
    if state.lstat().st_uid != owner.st_uid:
        os.chown(state, owner.st_uid, owner.st_gid, follow_symlinks=False)
