"""Dialogs through the SBC: which request belongs to which, and where it goes next. Pure.

Each branch of a dialog-forming request gets a token. `sip:TOKEN@…` is the Contact that both sides see, so a request
inside a dialog names its dialog in its Request-URI; the tags tell which dialog of the branch and which direction. Both
hold when a call passes through the same SBC twice with one Call-ID.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sbc.proxy.story import Story
from sbc.sip.errors import ParseError
from sbc.sip.message import Request, Response
from sbc.sip.uri import Uri

MAX_LEGS = 200_000
"""Branches with dialogs at once: 100,000 calls and as many subscriptions; about 2 kB each."""

IDLE_LEG = 3 * 86_400.0
"""Seconds after which a leg without any message is dropped: a call or subscription of three silent days is lost."""

MAX_FORKS = 64
"""Dialogs of one leg at most: more downstream branches than any server rings."""

TOKEN_LENGTH = 20
"""Hexadecimal digits of a leg's token, which `transaction.identifiers` makes."""

OPENING = frozenset((b"INVITE", b"SUBSCRIBE", b"REFER"))
"""Methods that make a dialog when they come outside one. An unsolicited NOTIFY (message waiting) makes none."""

FORMING = OPENING | {b"NOTIFY"}
"""Methods by which a dialog may become known: the NOTIFY of a subscription can come before its 2xx."""

REFRESHING = frozenset((b"INVITE", b"UPDATE", b"SUBSCRIBE", b"NOTIFY", b"REFER"))
"""Methods that refresh a remote target (RFC 3261 §12.2, 3311, 6665)."""


@dataclass(slots=True)
class Side:
    """One end of a dialog as the SBC sees it.

    `target` is the peer's Contact URI, `routes` its route set in the order in which requests toward it carry it, `hop`
    the flow on which it was last heard, `contact` the URI of ours that it knows, `upper` the name of the upper server
    if the peer is one, `address` the IP that its signalling came from, `user` whose device it is (`alice@example.test`)
    if it is one of ours, `device` its identity among that user's devices, `call_id` the Call-ID that it knows.
    """

    contact: bytes
    hop: Any = None
    target: bytes = b""
    routes: tuple[bytes, ...] = ()
    upper: str | None = None
    address: str = ""
    user: str = ""
    device: str = ""
    call_id: bytes = b""

    def same_party(self, other: Side) -> bool:
        """Whether both are the same device or the same upper server, in whatever dialogs."""
        if self.upper is not None or other.upper is not None:
            return self.upper == other.upper
        if self.user and self.device:
            return (self.user, self.device) == (other.user, other.device)
        return self.hop is not None and other.hop is not None and bool(self.hop.token == other.hop.token)

    def shown(self, contact: bytes) -> Side:
        """The same end, which knows us by this URI."""
        return Side(
            contact, self.hop, self.target, self.routes, self.upper, self.address, self.user, self.device, self.call_id
        )


@dataclass(slots=True, frozen=True)
class Unfinished:
    """An INVITE inside a dialog without a final response so far: what that needs to get back to its sender. `offered`:
    it had a session description."""

    from_a: bool
    number: int
    vias: tuple[bytes, ...]
    offered: bool


@dataclass(slots=True, eq=False)
class Dialog:
    """One dialog: the leg it belongs to, the tag of side B, and side B as that tag's peer."""

    leg: Leg
    tag: bytes
    b: Side
    confirmed: bool = False
    ended: bool = False
    cseq_a: int = 0
    cseq_b: int = 0
    kept: int = 0
    """What stands in the store of it, as a hash of the text; 0: nothing."""
    described: Response | None = None
    """The last provisional response of side B with an answer in it, until the dialog stands."""
    dead_at: float | None = None
    """When the call is dead unless one of the parties refreshes it (RFC 4028); None: no session timer."""
    unfinished: Unfinished | None = None

    @property
    def a(self) -> Side:
        """The side that sent the request."""
        return self.leg.a


@dataclass(slots=True, eq=False)
class Leg:
    """A branch of a dialog-forming request, with every dialog that came of it.

    `from_`, `to` (without a tag) and `cseq` are those of that request; `story` is where its call is told.
    """

    token: bytes
    tag: bytes
    a: Side
    b: Side
    story: Story
    touched: float
    from_: bytes = b""
    to: bytes = b""
    cseq: int = 0
    shown_from: bytes = b""
    """`from_` as side B knows it, where that is another: by a rule, or with the domain in the place of our address."""
    until: float | None = None
    """When a leg that is no call ends by itself: its subscription's expiry."""
    offer: str = ""
    """Which side ("a", "b") made an offer in a response to an INVITE without one, unanswered so far; empty: none."""
    dialogs: dict[bytes, Dialog] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Inside:
    """A request inside a dialog: it came from side A (`from_a`) or from side B."""

    dialog: Dialog
    from_a: bool

    @property
    def sender(self) -> Side:
        """The side that the request came from."""
        return self.dialog.a if self.from_a else self.dialog.b

    @property
    def receiver(self) -> Side:
        """The side that it goes to."""
        return self.dialog.b if self.from_a else self.dialog.a


@dataclass(slots=True, frozen=True)
class Named:
    """A dialog that a request names which is not inside it: `end` is whom the request is about, `far` the other."""

    leg: Leg
    end: Side
    far: Side


class Dialogs:
    """All legs, found by token, by the users at their ends, and by Call-ID."""

    def __init__(self) -> None:
        self._legs: dict[bytes, Leg] = {}
        self._by_user: dict[str, dict[Leg, None]] = {}
        self._by_call_id: dict[bytes, dict[Leg, None]] = {}

    def __len__(self) -> int:
        return len(self._legs)

    def open(self, leg: Leg) -> bool:
        """Keep a leg; False when there are too many."""
        if len(self._legs) >= MAX_LEGS:
            return False
        self._legs[leg.token] = leg
        for user in {leg.a.user, leg.b.user} - {""}:
            self._by_user.setdefault(user, {})[leg] = None
        for call_id in {leg.a.call_id, leg.b.call_id}:
            self._by_call_id.setdefault(call_id, {})[leg] = None
        return True

    def close(self, leg: Leg) -> None:
        """Forget a leg and its dialogs."""
        self._legs.pop(leg.token, None)
        for user in {leg.a.user, leg.b.user} - {""}:
            _leave(self._by_user, user, leg)
        for call_id in {leg.a.call_id, leg.b.call_id}:
            _leave(self._by_call_id, call_id, leg)
        leg.dialogs.clear()

    def find(self, request: Request, now: float, hop: Any = None) -> Inside | None:
        """The dialog that a request with a To tag belongs to.

        Its Request-URI names the leg. One that lost our Contact on its way (rewritten by an ALG, or sent to an address
        of record by a careless peer) is known by Call-ID and tags (RFC 3261 §12), and by the flow `hop` it came on
        where a call passed here twice.
        """
        token = request.parsed_uri.user
        leg = self._legs.get(token.lower()) if token is not None else None
        if leg is not None:
            leg.touched = now
            return self._belongs(leg, request)
        if token is not None and _is_token(token):
            return None  # a leg that is over; its call may have another one here
        found = [
            inside
            for leg in self._by_call_id.get(request.call_id, ())
            if (inside := self._belongs(leg, request, learn=False)) is not None
        ]
        if len(found) > 1:
            found = [inside for inside in found if inside.sender.hop is hop]
        if len(found) != 1:
            return None
        found[0].dialog.leg.touched = now
        return found[0]

    def _belongs(self, leg: Leg, request: Request, *, learn: bool = True) -> Inside | None:
        """The dialog of this leg that the request's Call-ID and tags name."""
        call_id = request.call_id
        from_tag, to_tag = request.from_tag or b"", request.to_tag or b""
        dialog = leg.dialogs.get(to_tag)
        if dialog is not None and from_tag == leg.tag and call_id == leg.a.call_id:
            return Inside(dialog, True)
        dialog = leg.dialogs.get(from_tag)
        if call_id != leg.b.call_id or to_tag != leg.tag:
            return None
        if dialog is None and learn and request.method in FORMING:
            dialog = self._learn(leg, from_tag)
        return Inside(dialog, False) if dialog is not None else None

    def responded(self, leg: Leg, response: Response, hop: Any, now: float) -> Dialog | None:
        """A response to the leg's first request makes or refreshes the dialog that its To tag names."""
        tag = response.to_tag
        if tag is None or response.status == 100 or response.status >= 300:
            return None
        leg.touched = now
        dialog = leg.dialogs.get(tag)
        if dialog is None:
            dialog = self._learn(leg, tag)
        if dialog is None:
            return None
        side = dialog.b
        side.hop = hop
        if not dialog.confirmed:
            side.routes = tuple(reversed(response.each(b"record-route"))) or side.routes
        side.target = contact_of(response) or side.target
        if response.status >= 200:
            dialog.confirmed = True
        return dialog

    def answered(self, response: Response) -> Inside | None:
        """The established dialog that a response names by Call-ID and tags, and who asked."""
        call_id, asks, answers = response.call_id, response.from_tag or b"", response.to_tag or b""
        for leg in self._by_call_id.get(call_id, ()):
            for from_a, tag, known in ((True, answers, leg.b.call_id), (False, asks, leg.a.call_id)):
                dialog = leg.dialogs.get(tag)
                if (
                    dialog is not None
                    and dialog.confirmed
                    and call_id == known
                    and leg.tag == (asks if from_a else answers)
                ):
                    return Inside(dialog, from_a)
        return None

    def requested(self, inside: Inside, request: Request, hop: Any) -> bool:
        """A request inside the dialog tells where its sender is now; whether that is somewhere else than before."""
        sender = inside.sender
        before = sender.target, sender.routes, sender.hop
        sender.hop = hop
        if request.method in REFRESHING:
            sender.target = contact_of(request) or sender.target
        if not sender.routes and not inside.dialog.confirmed and not inside.from_a:
            sender.routes = tuple(request.each(b"record-route"))
        number = request.cseq.number
        if inside.from_a:
            inside.dialog.cseq_a = max(inside.dialog.cseq_a, number)
        else:
            inside.dialog.cseq_b = max(inside.dialog.cseq_b, number)
        return before != (sender.target, sender.routes, hop)

    def moved(self, user: str, device: str, hop: Any) -> list[Dialog]:
        """This device of the user is on `hop` now: its dialogs go on there. Which dialogs that changes.

        So does a side that lost its flow, where it is not known which of the user's devices it is.
        """

        def moves(side: Side) -> bool:
            lost = not side.device and (side.hop is None or not side.hop.open)
            if side.user != user or side.hop is hop or not (side.device == device or lost):
                return False
            side.hop = hop
            return True

        changed = []
        for leg in self._by_user.get(user, ()):
            a = moves(leg.a)
            changed += [dialog for dialog in leg.dialogs.values() if moves(dialog.b) or a]
        return changed

    def named(self, call_id: bytes, to_tag: bytes, from_tag: bytes) -> list[Named]:
        """The dialogs with this Call-ID, on either side, and these tags; `end` is the holder of the to-tag.

        There is more than one when a call passed here twice.
        """
        found = []
        for leg in self._by_call_id.get(call_id, ()):
            if to_tag == leg.tag and (dialog := leg.dialogs.get(from_tag)) is not None:
                found.append(Named(leg, leg.a, dialog.b))
            elif from_tag == leg.tag and (dialog := leg.dialogs.get(to_tag)) is not None:
                found.append(Named(leg, dialog.b, leg.a))
        return found

    def across(self, token: bytes, sender: Side) -> Named | None:
        """The leg of our Contact with this user part as one of its parties means it: the end that is not the sender.

        A Contact can be more than the address of one dialog: a conference is joined by it (RFC 4579), a call is
        transferred by it from outside its dialog (RFC 5589 §6).
        """
        leg = self._legs.get(token.lower())
        if leg is None:
            return None
        ends = [dialog.b for dialog in leg.dialogs.values() if dialog.confirmed] or [leg.b]
        if sender.same_party(leg.a):
            return Named(leg, ends[0], leg.a)
        if sender.same_party(ends[0]):
            return Named(leg, leg.a, ends[0])
        return None

    def call_ids(self, call_id: bytes) -> list[Leg]:
        """The legs that have this Call-ID on either side."""
        return list(self._by_call_id.get(call_id, ()))

    def idle(self, now: float) -> list[Leg]:
        """Legs on which nothing happened for `IDLE_LEG` seconds."""
        return [leg for leg in self._legs.values() if leg.touched + IDLE_LEG < now]

    def leg(self, token: bytes) -> Leg | None:
        """The leg of that token."""
        return self._legs.get(token)

    def all(self) -> list[Leg]:
        """Every leg."""
        return list(self._legs.values())

    def _learn(self, leg: Leg, tag: bytes) -> Dialog | None:
        if len(leg.dialogs) >= MAX_FORKS:
            return None
        side = leg.b.shown(leg.b.contact)
        dialog = Dialog(leg, tag, side, cseq_a=leg.cseq)
        leg.dialogs[tag] = dialog
        return dialog


def _is_token(user: bytes) -> bool:
    return len(user) == TOKEN_LENGTH and not user.lower().strip(b"0123456789abcdef")


def _leave(index: dict[Any, dict[Leg, None]], key: Any, leg: Leg) -> None:
    legs = index.get(key, {})
    legs.pop(leg, None)
    if not legs:
        index.pop(key, None)


def contact_of(message: Request | Response) -> bytes | None:
    """The URI of the first Contact; None where there is none that can be read."""
    try:
        contacts = message.contacts
    except ParseError:
        return None
    return contacts[0].uri.render() if contacts else None


def next_hop(side: Side) -> tuple[bytes, tuple[bytes, ...], Uri]:
    """Request-URI, Route values and the URI to send to, for a request toward this side (RFC 3261 §12.2.1.1).

    A strict router in first place (no `lr`) gets the Request-URI, and the target goes last.
    """
    if not side.routes:
        return side.target, (), Uri.parse(side.target)
    first = _route_uri(side.routes[0])
    if b"lr" in first.params:
        return side.target, side.routes, first
    return first.render(), (*side.routes[1:], b"<" + side.target + b">"), first


def _route_uri(route: bytes) -> Uri:
    start, end = route.find(b"<"), route.rfind(b">")
    return Uri.parse(route[start + 1 : end] if 0 <= start < end else route)
