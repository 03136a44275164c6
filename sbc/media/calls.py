"""What a proxy uses: it hands in the bodies of offers and answers and sends on what it gets back."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed

from sbc.media import bodies, sdp
from sbc.media.direct import Party, direct
from sbc.media.engine import Answer, Engine, Fault, Offer, Side, Statistics
from sbc.media.settings import MediaSettings
from sbc.sip.errors import RemoteError


class MediaCalls(Service):
    """The media of all legs. `leg_key` names one (call, branch): every branch of a fork has ports of its own.

    A body without a session description (see `bodies.find`), and every body when relaying is off, passes unchanged.
    Whether an offer is made in an INVITE, an UPDATE or the 200 to an INVITE without one makes no difference; `from_`
    says whose it is: `a` is the caller's side of the leg, `b` the called one's, for its whole life.
    """

    def __init__(self, settings: MediaSettings, engine: Engine) -> None:
        self._engine = engine
        self.leaves = False
        """Whether the legs go on when this service stops, for the next process to `restore`."""
        self._take(settings)

    @property
    def on_fault(self) -> Callable[[str, Fault], None]:
        """Called with (leg_key, fault) when a leg carries no media any more; end the call. It may come again until the
        leg is closed."""
        return self._engine.on_fault

    @on_fault.setter
    def on_fault(self, callback: Callable[[str, Fault], None]) -> None:
        self._engine.on_fault = callback

    @property
    def engine(self) -> Engine:
        """The relay: its `name`, `streams` and `packets` are for metrics."""
        return self._engine

    def reload(self, settings: MediaSettings) -> None:
        """Take over changed settings; ports and engine are fixed while the product runs."""
        self._take(settings)
        self._engine.reload(settings)

    def _take(self, settings: MediaSettings) -> None:
        self._relay = settings.relay
        self._networks = settings.direct
        self._upper, self._clients = settings.srtp_upper, settings.srtp_clients

    def privilegedStartService(self) -> None:
        """Do what needs privileges."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        self._engine.prepare()

    def startService(self) -> None:
        """Begin to relay."""
        super().startService()  # type: ignore[no-untyped-call]
        self._engine.start()

    def stopService(self) -> Deferred[None]:
        """End every leg, or leave them all."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._engine.leave() if self.leaves else self._engine.stop()

    def offer(
        self,
        leg_key: str,
        body: bytes,
        *,
        source: str,
        toward: bytes,
        back: bytes,
        from_: Side,
        content_type: bytes | None = bodies.SDP,
        parties: tuple[Party, Party] | None = None,
        toward_web: bool = False,
        toward_upper: bool = False,
    ) -> Deferred[bytes]:
        """The body to send on in place of the one of an offer.

        `source`: IP its signalling came from; `toward` and `back`: the addresses that the receiver and the sender are
        shown (IP literals, IPv6 with or without brackets); both stay what they were when the leg was opened. `parties`:
        sender and receiver, as far as they are known, so that `relay = "auto"` need not relay a *new* leg between two
        that reach each other (see `direct.py`). A leg that is known keeps its ports. `toward_web`:
        the receiver is a browser; `toward_upper`: it is an upper server. How such receivers protect their media is
        decided when a line is first offered to them.

        Fails with `RemoteError`: 503 when no ports are free, 488 when the media's protection cannot be agreed on, 400
        or 413 for a broken description; nothing changed then.
        """
        try:
            found = bodies.find(body, content_type) if self._relay != "never" else None
            if found is None:
                return succeed(body)
            session = sdp.parse(body[found[0] : found[1]])
        except RemoteError as problem:
            return fail(problem)
        wanted = "web" if toward_web else self._upper if toward_upper else self._clients
        free = self._relay == "auto" and wanted == "keep" and not self._engine.carries(leg_key)
        if free and parties is not None and direct(session, *parties, self._networks):
            return succeed(body)
        offer = Offer(session, from_, source, _unbracketed(back), _unbracketed(toward), wanted)
        return self._engine.offer(leg_key, offer).addCallback(_framed, body, found)

    def carries(self, leg_key: str) -> bool:
        """Whether this leg is relayed."""
        return self._engine.carries(leg_key)

    def describes(self, body: bytes, content_type: bytes | None = bodies.SDP) -> bool:
        """Whether a body holds a session description, so that it is an offer or an answer at all. Never raises."""
        try:
            return bodies.find(body, content_type) is not None
        except RemoteError:
            return False

    def answer(
        self,
        leg_key: str,
        body: bytes,
        *,
        source: str,
        from_: Side,
        content_type: bytes | None = bodies.SDP,
    ) -> Deferred[bytes]:
        """The body to send on in place of the one of an answer; unchanged when the offer was not relayed.

        It may come again for the same offer, changed or not: 183 and 200, retransmissions, branches further down.
        Fails with `RemoteError` for a broken description.
        """
        try:
            found = bodies.find(body, content_type) if self._engine.carries(leg_key) else None
            if found is None:
                return succeed(body)
            session = sdp.parse(body[found[0] : found[1]])
        except RemoteError as problem:
            return fail(problem)
        return self._engine.answer(leg_key, Answer(session, from_, source)).addCallback(_framed, body, found)

    def snapshot(self, leg_key: str) -> str | None:
        """Text to keep with an answered call so that its media can outlive a restart; None when nothing is relayed.

        Worth renewing after each answer; what the parties' packets taught meanwhile is in it.
        """
        return self._engine.snapshot(leg_key)

    def restore(self, leg_key: str, text: str) -> Deferred[bool]:
        """Relay a leg again, after a restart, on its old ports. False when that is not possible: its media is lost."""
        return self._engine.restore(leg_key, text)

    def close(self, leg_key: str) -> Deferred[Statistics]:
        """Free the ports of a leg; never fails, empty statistics for a leg that is unknown or was not relayed."""
        return self._engine.close(leg_key)


def _framed(description: bytes, body: bytes, found: tuple[int, int]) -> bytes:
    """The description in the place of the old one."""
    return body[: found[0]] + description + body[found[1] :]


def _unbracketed(host: bytes) -> str:
    return host.strip(b"[]").decode("ascii")
