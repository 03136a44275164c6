"""What offers and answers of one leg mean for the protection of its lines: which lines end at the relay (see
`crossing.py`), and what descriptions must say about them to each party."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sbc.media.component import Component, Surroundings
from sbc.media.crossing import Crossing, Plan, treat
from sbc.media.end import End
from sbc.media.engine import Answer, Offer, Side, other
from sbc.media.interwork import Face, bundled
from sbc.media.protection import Protection, read
from sbc.media.rewrite import Ports, forwardable
from sbc.media.sdp import Session
from sbc.sip.errors import RemoteError

#: RTP and RTCP ends of a line by side.
Ends = tuple[dict[Side, End], dict[Side, End]]

#: What `Negotiation.recall` raises.
Unusable = (LookupError, ValueError, TypeError, AttributeError)


class Negotiation:
    """The lines of one leg by media index. `crossings` are those whose protection ends at the relay now."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.crossings: dict[int, Crossing] = {}
        self._surroundings = surroundings
        self._drafts: dict[int, Crossing] = {}
        self._plans: dict[Side, dict[int, Plan | None]] = {}
        self._groups: dict[Side, list[bytes]] = {}
        self._bundles: dict[Side, list[int]] = {"a": [], "b": []}
        self._formats: dict[int, dict[Side, frozenset[int]]] = {}

    @property
    def crossed(self) -> bool:
        """Whether the protection of any line ends at the relay, or will when an open offer is answered."""
        return bool(self.crossings or self._drafts)

    def plan(self, offer: Offer) -> dict[int, Plan | None]:
        """What each usable line of an offer means; None: it passes with its protection as it is. Changes nothing.

        Lines whose keys cannot be agreed on are missing. Raises `RemoteError` 488 when there are such and no others.
        """
        plans: dict[int, Plan | None] = {}
        problem: RemoteError | None = None
        for index, media in enumerate(offer.session.media):
            if not media.port or not forwardable(media):
                continue
            said = read(offer.session, media)
            known = self.crossings.get(index)
            mode = treat(said.mode, offer.wanted, None if known is None else known.parties[other(offer.from_)].mode)
            if mode is None:
                if said.mode != "other" or offer.wanted != "web":
                    plans[index] = None
                continue
            try:
                said.demand()
            except RemoteError as unfit:
                problem = unfit
            else:
                plans[index] = Plan(said, mode)
        if problem is not None and not plans:
            raise problem
        return plans

    def offered(self, offer: Offer, plans: dict[int, Plan | None], ends: Mapping[int, Ends]) -> None:
        """An offer goes on; it takes effect by `settle`."""
        self._plans[offer.from_] = plans
        self._groups[offer.from_] = bundled(offer.session)
        for index, plan in plans.items():
            if plan is not None and index not in self.crossings and index not in self._drafts:
                self._drafts[index] = Crossing(*ends[index], self._surroundings)

    def settle(self, side: Side) -> None:
        """The open offer of this side takes effect."""
        for index, plan in self._plans.pop(side, {}).items():
            if plan is None:
                self._pass(index)
                continue
            if index not in self.crossings and index in self._drafts:
                self._cross(index, self._drafts.pop(index))
            if index in self.crossings:  # else its ports are gone
                self.crossings[index].parties[side].hear(plan.protection, offer=True)

    def answered(self, answer: Answer) -> None:
        """An answer takes effect. Raises `RemoteError` 488 when it is none to what was offered: nothing changed."""
        heard: dict[int, Protection] = {}
        for index, media in enumerate(answer.session.media):
            if media.port and index in self.crossings:
                said = heard[index] = read(answer.session, media)
                said.demand()
                self.crossings[index].parties[answer.from_].compare(said)
        for index, said in heard.items():
            self.crossings[index].parties[answer.from_].hear(said, offer=False)
        asked = other(answer.from_)
        usable = [index for index, media in enumerate(answer.session.media) if media.port]
        self._bundle(answer.from_, bundled(answer.session), usable)
        self._bundle(asked, self._groups.get(asked, []), usable)
        for index in self.crossings:
            if index < len(answer.session.media):
                self._formats.setdefault(index, {})[answer.from_] = _formats(answer.session, index)
            self._join(index)

    def offer_faces(self, side: Side, ports: Mapping[int, Ports], plans: Mapping[int, Plan | None]) -> dict[int, Face]:
        """What the other party is shown of an offer of `side`."""
        return {
            index: self._line(index).parties[other(side)].offered(plan, index, ports[index].rtp)
            for index, plan in plans.items()
            if plan is not None and index in ports
        }

    def answer_faces(self, side: Side, ports: Mapping[int, Ports]) -> dict[int, Face]:
        """What the other party is shown of an answer of `side`."""
        asked = other(side)
        shared = self._bundles[asked]
        faces = {}
        for index, crossing in self.crossings.items():
            if index in ports:
                first = shared[0] if index in shared else index
                port = ports[first].rtp if first in ports else ports[index].rtp
                owner = self.crossings[first].parties[asked]
                party = crossing.parties[asked]
                face = party.answered(crossing.parties[side].mode or "plain", port)
                faces[index] = face if owner is party else owner.lend(face)
        return faces

    def bundles(self, faces: Mapping[int, Face], *, answering: Side | None = None) -> list[bytes]:
        """The mids of the lines that share a port, or may: in an answer those on which that was agreed."""
        agreed = None if answering is None else self._bundles[answering]
        return [
            face.mid
            for index, face in faces.items()
            if face.mode == "web" and face.mid is not None and (agreed is None or index in agreed)
        ]

    def held(self, side: Side, session: Session) -> bool | None:
        """Whether this party wants no media at all, where its null address does not mean that; None: it does."""
        if not any(crossing.parties[side].mode == "web" for crossing in self.crossings.values()):
            return None
        return all(not media.port or session.direction(media) == b"inactive" for media in session.media)

    def by_ice(self, index: int, side: Side) -> bool:
        """Whether it is not the description that says where this party is."""
        crossing = self.crossings.get(index)
        return crossing is not None and crossing.parties[side].by_ice

    def begin(self) -> None:
        """It is known now where the parties are."""
        for component in self._components():
            component.begin()

    def failure(self, now: float) -> str:
        """Why the leg can carry no media any more."""
        return next((why for crossing in self.crossings.values() if (why := crossing.failure(now))), "")

    def close(self, index: int) -> None:
        """A line goes, with its ends."""
        for crossing in (self.crossings.pop(index, None), self._drafts.pop(index, None)):
            if crossing is not None:
                crossing.close()

    def memory(self) -> dict[str, Any] | None:
        """What `recall` needs, as JSON has it: keys among it. None when another process cannot go on with them."""
        crossings = {index: crossing.memory() for index, crossing in self.crossings.items()}
        drafts = {index: crossing.memory() for index, crossing in self._drafts.items()}
        if None in crossings.values() or None in drafts.values():
            return None
        return {
            "crossings": crossings,
            "drafts": drafts,
            "groups": {side: [mid.decode("latin-1") for mid in group] for side, group in self._groups.items()},
            "bundles": self._bundles,
            "formats": {
                index: {side: sorted(each) for side, each in formats.items()}
                for index, formats in self._formats.items()
            },
        }

    def recall(self, memory: Mapping[str, Any], ends: Mapping[int, Ends]) -> None:
        """Go on as the one did whose `memory` this is, as it was made of JSON, on the ends of its lines. Raises one of
        `Unusable` when that cannot be; then `close` what is there."""
        now = self._surroundings.forwarder.clock()
        self._groups = {side: [mid.encode("latin-1") for mid in memory["groups"][side]] for side in memory["groups"]}
        self._bundles = {"a": list(memory["bundles"]["a"]), "b": list(memory["bundles"]["b"])}
        self._formats = {
            int(index): {side: frozenset(formats[side]) for side in formats}
            for index, formats in memory["formats"].items()
        }
        joined = []
        for place, each in memory["drafts"].items():
            draft = self._drafts[int(place)] = Crossing(*ends[int(place)], self._surroundings)
            draft.recall(each, now)
        for place, each in memory["crossings"].items():
            crossing = Crossing(*ends[int(place)], self._surroundings)
            self._cross(int(place), crossing)
            if crossing.recall(each, now):
                joined.append(int(place))
        for side, lines in self._bundles.items():
            self._share(side, lines)
        for index in joined:
            self._join(index)

    def part(self) -> None:
        """Another process goes on, by `recall`; then `close` what is here."""
        for crossing in (*self.crossings.values(), *self._drafts.values()):
            for component in crossing.components():
                component.part()

    def _join(self, index: int) -> None:
        crossing = self.crossings[index]
        formats = frozenset[int]().union(*self._formats.get(index, {}).values())
        crossing.join(formats, {side: index in self._bundles[side] for side in crossing.parties})

    def _line(self, index: int) -> Crossing:
        return self.crossings.get(index) or self._drafts[index]

    def _components(self) -> list[Component]:
        return [component for crossing in self.crossings.values() for component in crossing.components()]

    def _cross(self, index: int, crossing: Crossing) -> None:
        self.crossings[index] = crossing
        for component in crossing.components():
            self._surroundings.forwarder.cross(component.end, component)

    def _pass(self, index: int) -> None:
        crossing = self.crossings.pop(index, None)
        if crossing is not None:
            crossing.close()
            for component in crossing.components():
                self._surroundings.forwarder.cross(component.end, None)

    def _bundle(self, side: Side, group: list[bytes], usable: list[int]) -> None:
        """Lines of this group that a browser has on one port: the first one's."""
        lines = [
            index
            for index, crossing in sorted(self.crossings.items())
            if index in usable and crossing.parties[side].mode == "web" and crossing.parties[side].mid in group
        ]
        self._bundles[side] = lines
        self._share(side, lines)

    def _share(self, side: Side, lines: list[int]) -> None:
        for index in lines[1:]:
            self.crossings[index].parties[side].share(self.crossings[lines[0]].parties[side])


def _formats(session: Session, index: int) -> frozenset[int]:
    return frozenset(int(word) for word in session.media[index].formats if word.isdigit() and len(word) <= 3)
