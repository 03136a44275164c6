"""Responses of an attempt's targets on their way to its sender."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from sbc.observe import kinds
from sbc.proxy.branch import Branch
from sbc.proxy.describing import described
from sbc.proxy.dialog import Dialog, Leg
from sbc.proxy.hiding import homeward
from sbc.proxy.redirect import shown
from sbc.proxy.target import Target
from sbc.sip.build import respond
from sbc.sip.message import Response
from sbc.soon import when_there
from sbc.upper.ways import refusal

if TYPE_CHECKING:
    from sbc.proxy.attempt import Attempt


class Answers:
    """Rewrites responses for the sender of the request, media included; a 2xx that comes again goes out as before."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: dict[bytes, Response] = {}
        """2xx that went out, by To tag."""

    def relay(self, attempt: Attempt, branch: Branch[Target], response: Response, now: float) -> None:
        """Pass this response of a branch on."""
        leg = branch.leg
        if leg is None:
            self._pass(attempt, branch, None, response, response.body)
            return
        again = self._sent.get(response.to_tag or b"") if response.status >= 200 else None
        if again is not None:
            attempt.calls.driver.respond(attempt.txn, again)
            return
        flow, calls = branch.txn.hop, attempt.calls
        dialog = calls.dialogs.responded(leg, response, flow, now)
        if dialog is None and attempt.invite and 200 <= response.status < 300:
            self._nameless(attempt, branch)
            return
        if dialog is not None and attempt.invite and response.status >= 200 and _second(attempt, leg, dialog):
            # One leg has one set of ports: a second party on them would silence the first.
            calls.endings.reject_answer(leg, dialog.tag, branch.txn, not dialog.ended)
            dialog.ended = True
            return
        if not attempt.invite and response.status >= 200:
            calls.terms.subscribed(leg, attempt.request, response)
        if response.status >= 200 and not response.body:
            leg.offer = ""  # what was offered has been answered in a reliable provisional response, or never will be
        if not response.body or response.status >= 300:
            if dialog is not None and dialog.described is not None and response.status >= 200:
                # Its answer came before, and another branch's after it: the media goes back to the one who took it.
                back = described(calls.media, leg, "b", dialog.described, flow, attempt.flow, attempt.request)
                back.addErrback(lambda failure: attempt.story.note(kinds.ERROR, str(refusal(failure))))
                dialog.described = None
            self._pass(attempt, branch, leg, response, response.body)
            return
        if dialog is not None:
            dialog.described = response if response.status < 200 and attempt.request.body else None
        answered = described(calls.media, leg, "b", response, flow, attempt.flow, attempt.request)
        when_there(
            answered,
            partial(self._pass, attempt, branch, leg, response),
            partial(self._unfit, attempt, branch, leg, response),
        )

    def _nameless(self, attempt: Attempt, branch: Branch[Target]) -> None:
        """A 2xx that names no dialog: neither its ACK nor the BYE could be told from those of other calls."""
        if not attempt.done:
            attempt.story.note(kinds.ERROR, f"{branch.target.name}: its answer has no To tag, or is one too many")
            tag = attempt.calls.identifiers.tag()
            attempt.answer(respond(attempt.request, 502, b"No Dialog", to_tag=tag))

    def _unfit(self, attempt: Attempt, branch: Branch[Target], leg: Leg, response: Response, failure: Failure) -> None:
        """The relay cannot use the media of this answer."""
        problem = refusal(failure)
        attempt.story.note(kinds.ERROR, f"{branch.target.name}: media refused: {problem}")
        if response.status < 200:
            self._pass(attempt, branch, leg, response, b"")
            return
        # An answer that cannot be relayed would leave a call without sound, and show the device's address.
        attempt.calls.endings.reject_answer(leg, response.to_tag or b"", branch.txn, True)
        attempt.answer(respond(attempt.request, 502, str(problem).encode(), to_tag=attempt.calls.identifiers.tag()))

    def _pass(self, attempt: Attempt, branch: Branch[Target], leg: Leg | None, response: Response, body: bytes) -> None:
        rules = attempt.calls.settings().header_rules
        back = homeward(response, attempt.request, contact=leg.a.contact if leg is not None else None, rules=rules)
        if body is not response.body:
            back.body = body
        if 300 <= response.status < 400:
            back.replace(b"contact", self._elsewhere(attempt, response))
        if attempt.invite:
            self._note(attempt, branch, leg, response, back)
        attempt.answer(back)

    def _elsewhere(self, attempt: Attempt, response: Response) -> list[bytes]:
        """The Contacts of a 3xx as the sender of the request may see them."""
        origin, calls = attempt.origin, attempt.calls
        known = origin.domain if origin is not None else attempt.request.parsed_uri.host
        return shown(response, calls.ways.servers, calls.ours(), known)

    def _note(
        self, attempt: Attempt, branch: Branch[Target], leg: Leg | None, response: Response, back: Response
    ) -> None:
        tag = response.to_tag or b""
        if 200 <= response.status < 300:
            self._sent[tag] = back
            if leg is not None and (dialog := leg.dialogs.get(tag)) is not None:
                attempt.calls.terms.timed(dialog, attempt.request, response)
        kind = _HEARD.get(response.status // 100)
        if kind is not None and not (kind is kinds.ANSWERED and attempt.done):
            attempt.story.note(kind, f"{branch.target.name}: {response.status}")


def _second(attempt: Attempt, leg: Leg, dialog: Dialog) -> bool:
    """Whether another branch beyond this leg has answered already, and its media is relayed."""
    others = (other for other in leg.dialogs.values() if other is not dialog)
    return any(other.confirmed for other in others) and attempt.calls.media.carries(leg.token.decode())


_HEARD = {1: kinds.RINGING, 2: kinds.ANSWERED}
