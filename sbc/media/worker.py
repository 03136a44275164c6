"""A media process, started by `process.py` and told what to do over a socket: `python -m sbc.media.worker STATE ENGINE
SETTINGS SHARE`, the last two as JSON; a share is this worker's number and how many there are.

What relays is a child of what was started, which has all code in memory and a new child within milliseconds when one
dies (`keeper.py`). It listens on `media.sock` in the state directory, for one signalling process at a time. When that
one is gone it goes on for `ORPHANED` seconds, so that another can take it over with all its calls; without calls it
ends soon.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from secrets import token_bytes
from time import monotonic
from typing import Any

from sbc.media import control
from sbc.media.control import SOCKET, Message
from sbc.media.dtls import Identity
from sbc.media.engine import Fault
from sbc.media.indexes import SIZE, Book
from sbc.media.keeper import keep
from sbc.media.line import Line
from sbc.media.offload import Offload, UnavailableError
from sbc.media.relay import SWEEP, Relay
from sbc.media.settings import MediaSettings
from sbc.media.share import Share
from sbc.media.timers import Timers
from sbc.sip.errors import RemoteError

#: Seconds without a signalling process after which calls are given up.
ORPHANED = 120.0
#: Seconds for a signalling process to come (back) to a media process that has no calls.
IDLE = 10.0
#: Seconds after a start in which what the kernel still forwards is asked for.
SETTLED = 30.0
#: Connections that wait to be accepted.
BACKLOG = 4


class Worker:
    """The relay and whom it obeys. `offload` is what the kernel does, `why` why it does nothing."""

    def __init__(
        self,
        settings: MediaSettings,
        listening: socket.socket,
        offload: Offload | None = None,
        why: str = "",
        book: Book | None = None,
        share: Share = Share(),  # noqa: B008 - immutable
    ) -> None:
        self.timers = Timers(monotonic)
        self.relay = Relay(settings, monotonic, self.timers.later, book=book, share=share)
        self._share = share
        self.relay.on_fault = self._fault
        self.relay.on_change = self._changed
        self._keeping = False
        self.ending = False
        self._draining = False
        self._settings = settings
        self._listening = listening
        self._offload, self._why = offload, why
        self._line: Line | None = None
        self._alone_at: float | None = monotonic()
        self._told: dict[str, int] = {}
        self._uses: Message = {}
        self._orders = {
            "hello": self._hello,
            "reload": self._reload,
            "offer": self._offer,
            "answer": self._answer,
            "restore": self._restore,
            "close": self._close,
            "release": self._release,
            "end": self._end,
        }

    def run(self) -> None:
        """Relay until told to end, or until nobody is there any more."""
        forwarder, offload = self.relay.forwarder, self._offload
        if offload is not None:
            forwarder.pins.offload = offload
            if offload.fileno() >= 0:
                forwarder.watch(offload.fileno(), forwarder.pins.look)
            self.timers.later(SETTLED, offload.settle)
        forwarder.watch(self._listening.fileno(), self._accept)
        self.timers.later(SWEEP, self._sweep)
        while not self.ending:
            forwarder.turn(self.timers.wait(SWEEP))
            self.timers.run()
        if self._line is not None:
            self._line.close()
        self.relay.stop()
        if offload is not None:
            try:
                offload.close()
            except OSError:  # not ours to remove since we are somebody else, or gone already
                pass
        self._listening.close()

    def drain(self) -> None:
        """No new calls; end when those there are have ended."""
        self._draining = True

    # What it is told

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        if self._line is not None:
            self._line.close()
        self._line = Line(self.relay.forwarder, connection, self._obey, self._left)
        self._alone_at = None

    def _left(self, line: Line) -> None:
        if line is self._line:
            self._line, self._alone_at = None, monotonic()

    def _obey(self, line: Line, message: Message) -> None:
        """Answer a request. A bug in one order is told and ends no call but its own."""
        reply: Message = {"id": message.get("id")}
        try:
            reply |= self._orders[message["do"]](message)
        except RemoteError as refusal:
            reply |= {"status": refusal.status, "reason": refusal.reason.decode("latin-1")}
        except Exception:  # noqa: BLE001 - the calls of all others go on
            self._report()
            reply |= {"status": 500, "reason": "Media Relay Failed"}
        line.send({**reply, "streams_now": self.relay.streams})

    def _hello(self, message: Message) -> Message:
        """Tell a signalling process of everything there is. `fits`: ports and protocol are what it expects."""
        settings = self._understood(message)
        fits = settings is not None and settings.ports == self._settings.ports
        fits = fits and message.get("share") == list(self._share)
        if fits and settings is not None:
            self._told.clear()
            self.relay.reload(settings)
            if message["identity"] and not self.relay.keys:
                self.relay.adopt(Identity(message["identity"].encode("ascii")))
            for key in self.relay.keys:
                self._keep(key)
        name, how = ("python", "") if self._offload is None else (self._offload.name, self._offload.account)
        self._uses = {"name": name, "how": how, "why": self._why, "files": self.relay.open_files()}
        identity = self.relay.identity.memory.decode("ascii")
        return {"fits": fits, **self._uses, "identity": identity, "legs": self.relay.keys, "pid": os.getpid()}

    def _understood(self, message: Message) -> MediaSettings | None:
        """The settings in a greeting; None when it is one of another version."""
        try:
            return control.to_settings(message["settings"]) if message["version"] == control.VERSION else None
        except (KeyError, TypeError, ValueError):
            return None

    def _reload(self, message: Message) -> Message:
        self.relay.reload(control.to_settings(message["settings"]))
        return {}

    def _offer(self, message: Message) -> Message:
        if self._draining and not self.relay.carries(message["key"]):
            raise RemoteError(503, b"Media Going Down")
        description = self.relay.offer(message["key"], control.to_offer(message))
        return self._described(message["key"], description)

    def _answer(self, message: Message) -> Message:
        description = self.relay.answer(message["key"], control.to_answer(message))
        return self._described(message["key"], description)

    def _described(self, key: str, description: bytes) -> Message:
        self._keep(key)
        return {"sdp": description.decode("latin-1"), "carried": self.relay.carries(key)}

    def _restore(self, message: Message) -> Message:
        key = message["key"]
        there = self.relay.carries(key) or self.relay.restore(key, message["text"])
        self._keep(key)
        return {"there": there}

    def _close(self, message: Message) -> Message:
        self._told.pop(message["key"], None)
        return {"streams": control.from_statistics(self.relay.close(message["key"]))}

    def _release(self, message: Message) -> Message:
        text, statistics = self.relay.release(message["key"])
        if text:
            self._told.pop(message["key"], None)
        return {"text": text, "streams": control.from_statistics(statistics)}

    def _end(self, message: Message) -> Message:
        self.ending = True
        return {}

    # What it tells

    def _report(self) -> None:
        """The traceback, for the signalling process to log; nothing if that one is gone."""
        try:
            traceback.print_exc()
        except OSError:
            pass

    def _keep(self, key: str) -> None:
        """Tell what `restore` needs, if that changed."""
        changes = self.relay.changes(key)
        if self._line is not None and self._told.get(key) != changes:
            self._told[key] = changes
            text = self.relay.memory(key)
            if text is not None:
                self._line.send({"event": "kept", "key": key, "text": text, "lasting": self.relay.snapshot(key)})

    def _changed(self) -> None:
        """What nobody asked for is told before the next packets are served."""
        if not self._keeping:
            self._keeping = True
            self.timers.later(0.0, self._keep_all)

    def _keep_all(self) -> None:
        self._keeping = False
        for key in self.relay.keys:
            self._keep(key)

    def _fault(self, key: str, fault: Fault) -> None:
        if self._line is not None:
            self._line.send({"event": "fault", "key": key, "cause": fault.cause, "text": fault.text})

    def _sweep(self) -> None:
        relay = self.relay
        relay.sweep()
        self._keep_all()
        if self._line is not None:
            counts = {"streams": relay.streams, "packets": relay.packets, "exhausted": relay.exhausted}
            counts["pinned"] = len(relay.forwarder.pins)
            self._line.send({"event": "counts", **counts, "free": relay.free_pairs})
            if self._offload is not None and self._uses and self._uses["how"] != self._offload.account:
                self._uses["how"] = self._offload.account
                self._line.send({"event": "uses", **self._uses})
        elif self._alone_at is not None:
            patience = ORPHANED if relay.keys else IDLE
            self.ending = self.ending or monotonic() - self._alone_at >= patience
        self.ending = self.ending or (self._draining and not relay.keys)
        self.timers.later(SWEEP, self._sweep)


def listen(state: Path) -> socket.socket:
    """Listen on the socket in this directory, which takes the place of one there was; only its owner may connect."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    here = os.getcwd()
    os.chdir(state)  # the path of a socket has 107 bytes at most
    before = os.umask(0o177)
    try:
        coming = f"{SOCKET}.{os.getpid()}"
        Path(coming).unlink(missing_ok=True)
        listening.bind(coming)
        listening.listen(BACKLOG)
        os.rename(coming, SOCKET)
    finally:
        os.umask(before)
        os.chdir(here)
    listening.setblocking(False)
    return listening


def offload(state: Path, engine: str, place: Path | None = None) -> tuple[Offload | None, str]:
    """What the kernel can do for us, if that is wanted, else why not."""
    if engine == "python":
        return None, ""
    from sbc.media.kernel import load  # of no use to the engine without it

    try:
        return load(str(state), place=place), ""
    except UnavailableError as problem:
        return None, str(problem)
    except Exception as problem:  # noqa: BLE001 - a bug there, or a kernel that says what nobody expected
        traceback.print_exc()
        return None, f"{type(problem).__name__}: {problem}"


def book(share: Share) -> Book:
    """The indexes of the process before us; without the memory for them, some that nobody will go on with."""
    try:
        return Book(memoryview(mmap.mmap(control.MEMORY, SIZE)), token_bytes, share)
    except (OSError, ValueError):
        return Book()


def become_owner(state: Path) -> None:
    """Run on as the owner of the state directory: privileges were needed before only."""
    owner = state.stat()
    if os.geteuid() == 0 and owner.st_uid:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def serve(state: Path, engine: str, settings: MediaSettings, share: Share, place: Path | None) -> None:
    """Relay; returns when that is over in order."""
    helper, why = offload(state, engine, place)
    listening = listen(state)
    ours = (state / SOCKET).stat().st_ino
    worker = Worker(settings, listening, helper, why, book(share), share)

    def drain(*_: Any) -> None:
        worker.drain()

    signal.signal(signal.SIGTERM, drain)
    worker.run()
    if (state / SOCKET).exists() and (state / SOCKET).stat().st_ino == ours:
        (state / SOCKET).unlink()


def main(arguments: list[str]) -> None:
    """See the module."""
    state, engine, settings = Path(arguments[0]), arguments[1], control.to_settings(json.loads(arguments[2]))
    share = Share(*json.loads(arguments[3]))
    if os.getpgrp() != os.getpid():
        os.setsid()  # an interrupt at the terminal ends the signalling process first
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    place = None
    if engine == "python":
        become_owner(state)
    else:  # each child needs a part of what we were started with, for a moment
        from sbc.media.kernel import confine

        place = confine(str(state))
    gc.collect()
    gc.freeze()
    keep(lambda: serve(state, engine, settings, share, place))


if __name__ == "__main__":
    main(sys.argv[1:])
