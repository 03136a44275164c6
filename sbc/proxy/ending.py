"""How dialogs end: by their parties, or by the SBC with a BYE to both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sbc.media.calls import MediaCalls
from sbc.media.engine import CAUSES, Fault, Statistics
from sbc.media.telling import told
from sbc.observe import kinds
from sbc.observe.calllog import Call, CallLog
from sbc.observe.metrics import Metrics
from sbc.proxy.dialog import Dialog, Dialogs, Inside, Leg, Side, next_hop
from sbc.proxy.ends import Ends
from sbc.proxy.farewell import Farewell
from sbc.proxy.lasting import Lasting
from sbc.sip.build import make_request
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request
from sbc.transaction.client import ClientTransaction
from sbc.transaction.driver import Driver
from sbc.transaction.identifiers import Identifiers
from sbc.transport.flow import Flow
from sbc.upper.face import via
from sbc.upper.ways import on_flow

log = Logger()

COMPLETED_ELSEWHERE = b'SIP;cause=200;text="Call completed elsewhere"'
"""The Reason of a BYE to a device that answered after another one (RFC 3326)."""


class Endings:
    """Ends dialogs, with their legs, media and records."""

    def __init__(
        self,
        *,
        driver: Driver,
        identifiers: Identifiers,
        media: MediaCalls,
        log: CallLog,
        metrics: Metrics,
        lasting: Lasting,
        dialogs: Dialogs,
        ends: Ends,
        clock_at: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._ends = ends
        self._identifiers = identifiers
        self._media = media
        self._log = log
        self._metrics = metrics
        self._lasting = lasting
        self._dialogs = dialogs
        self._clock_at = clock_at

    def over(self, inside: Inside, by: str, reason: str) -> None:
        """A dialog has ended; with the last one of its leg the leg, and its call: `by` and `reason` are the CDR's."""
        dialog = inside.dialog
        if dialog.ended:
            return
        dialog.ended = True
        leg = dialog.leg
        if any(other.confirmed and not other.ended for other in leg.dialogs.values()):
            return
        call = leg.story.call
        self.close(leg, call).addCallback(lambda _: self.record(call, 200, reason, by))

    def close(self, leg: Leg, call: Call | None) -> Deferred[None]:
        """Forget a leg with its media; `call`: whose timeline tells what its media was."""
        for dialog in leg.dialogs.values():
            self._lasting.ended(dialog)
        self._dialogs.close(leg)
        return self._media.close(leg.token.decode()).addCallback(self._note_media, call)

    def record(self, call: Call | None, code: int, reason: str, by: str) -> None:
        """A call is over: its CDR, once."""
        if call is None or call.ended_at is not None:
            return
        self._log.end(call, code, reason, by, self._clock_at())
        self._metrics.calls_ended.add(str(code))

    def end_both(self, dialog: Dialog, header: bytes, by: str, reason: str) -> None:
        """BYE to both sides, each in the name of the other; `header` is their Reason, `by` and `reason` the CDR's."""
        leg = dialog.leg
        to = leg.to + b";tag=" + dialog.tag
        dialog.cseq_a += 1
        dialog.cseq_b += 1
        self._bye_to(leg, dialog.b, leg.shown_from or leg.from_, to, dialog.cseq_a, header)
        self._bye_to(leg, dialog.a, to, leg.from_, dialog.cseq_b, header)
        self.over(Inside(dialog, True), by, reason)

    def end_leg(self, leg: Leg, header: bytes, by: str, reason: str) -> int:
        """End every established call of this leg; how many there were."""
        ended = 0
        if leg.story.invite:
            for dialog in tuple(leg.dialogs.values()):
                if dialog.confirmed and not dialog.ended:
                    self.end_both(dialog, header, by, reason)
                    ended += 1
        return ended

    def end_all(self, reason: str) -> None:
        """End every established call there is."""
        for leg in self._dialogs.all():
            self.end_leg(leg, b'SIP;cause=503;text="Going down"', "sbc", reason)

    def end_call(self, call_id: bytes, reason: str) -> int:
        """End the established calls of a Call-ID; how many there were."""
        header = b'SIP;cause=200;text="Ended by the operator"'
        legs = [leg for leg in self._dialogs.all() if leg.a.call_id == call_id]
        return sum(self.end_leg(leg, header, "operator", reason) for leg in legs)

    def media_ended(self, key: str, fault: Fault) -> None:
        """The relay can carry the media of a leg no more: end the call on both sides."""
        leg = self._dialogs.leg(key.encode())
        if leg is not None:
            leg.story.note(kinds.TIMEOUT if fault.cause == "timeout" else kinds.ERROR, f"media: {fault.text}")
            header = b'SIP;cause=200;text="%s"' % CAUSES[fault.cause].capitalize().encode()
            self.end_leg(leg, header, "sbc", str(fault))

    def reject_answer(self, leg: Leg, tag: bytes, txn: ClientTransaction, first: bool) -> None:
        """A device answered after all was over: acknowledge its 2xx, and end its dialog (once)."""
        dialog = leg.dialogs.get(tag)
        if dialog is None:
            return
        self.acknowledge(Inside(dialog, True), leg.cseq)
        if first:
            caller = leg.shown_from or leg.from_
            self._bye_to(leg, dialog.b, caller, leg.to + b";tag=" + tag, leg.cseq + 1, COMPLETED_ELSEWHERE)

    def acknowledge(self, inside: Inside, cseq: int) -> None:
        """The ACK of a 2xx to the INVITE of that number, in the name of its sender."""
        dialog, leg, side = inside.dialog, inside.dialog.leg, inside.receiver
        ours = leg.to + b";tag=" + dialog.tag
        from_, to = (leg.shown_from or leg.from_, ours) if inside.from_a else (ours, leg.from_)
        if not self._routable(leg, side, "ACK"):
            return

        def put(flow: Flow) -> None:
            ack = self._request(b"ACK", side, flow, from_=from_, to=to, cseq=cseq)
            self._driver.put(ack.render(), flow)

        lost = partial(self._lost, leg, side, "ACK")
        on_flow(self._ends.flow(side), put, lambda why: on_flow(self._ends.anew(side, set()), put, lost))

    def _bye_to(self, leg: Leg, side: Side, from_: bytes, to: bytes, cseq: int, reason: bytes) -> None:
        def bye(flow: Flow) -> Request:
            return self._request(b"BYE", side, flow, (b"Reason", reason), from_=from_, to=to, cseq=cseq)

        if self._routable(leg, side, "BYE"):
            Farewell(self._driver, self._ends, side, bye, partial(self._lost, leg, side, "BYE")).begin()

    def _routable(self, leg: Leg, side: Side, what: str) -> bool:
        """Whether a request can be made for this end; one that has not said where it is gets none."""
        try:
            next_hop(side)
        except RemoteError as problem:
            self._lost(leg, side, what, str(problem))
            return False
        return True

    def _request(
        self, method: bytes, side: Side, flow: Flow, *more: tuple[bytes, bytes], from_: bytes, to: bytes, cseq: int
    ) -> Request:
        """A request of ours to this end of a dialog, in the name of the other."""
        uri, routes, _ = next_hop(side)
        return make_request(
            method,
            uri,
            via=via(flow.listener, self._identifiers.branch()),
            from_=from_,
            to=to,
            call_id=side.call_id,
            cseq=cseq,
            headers=[*((b"Route", route) for route in routes), *more],
        )

    def _lost(self, leg: Leg, side: Side, what: str, why: str) -> None:
        """A request of ours did not get there: its end will find out by itself that the call is over."""
        whom = side.user or side.upper or side.address
        leg.story.note(kinds.ERROR, f"our {what} did not reach {whom}: {why}")
        log.warn("our {what} did not reach {whom}: {why}", what=what, whom=whom, why=why)

    def _note_media(self, statistics: Statistics, call: Call | None) -> None:
        if call is None or not statistics.streams:
            return
        for stream in statistics.streams:
            for party, heard in (("caller", stream.from_a), ("callee", stream.from_b)):
                call.heard(party, heard.packets, heard.lost, heard.jitter)
            self._log.event(call, kinds.MEDIA, told(stream), self._clock_at())
