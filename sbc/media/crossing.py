"""A media line whose protection ends at the relay: each party has keys with the relay, by its own means."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sbc.media import sdes
from sbc.media.component import Component, Onward, Surroundings
from sbc.media.end import End
from sbc.media.engine import Side, other
from sbc.media.ice import Credentials, IceLite
from sbc.media.interwork import Face, profile
from sbc.media.protection import Mode, Protection
from sbc.media.sdes import Crypto, Suite
from sbc.sip.errors import RemoteError

#: Random bytes of a user fragment and a password: 8 and 32 characters (RFC 8839 asks for 4 and 22 at least).
_UFRAG, _PASSWORD = 6, 24


@dataclass(frozen=True, slots=True)
class Plan:
    """What an offer means for a line: how its sender protects it, and how its receiver is to."""

    protection: Protection
    mode: Mode


def treat(was: Mode, wanted: str, established: Mode | None) -> Mode | None:
    """How the receiver of an offer is to protect a line; None: as its sender does, with no part of the relay's in it.

    `wanted`: `web` for a browser, or what the settings say for this receiver: `keep`, `off`, `sdes`. `established`: how
    it protects the line already, if the relay has a part in that.
    """
    if was == "other":
        return None
    if established is not None and established != "other":
        return established
    if wanted == "web":
        return "web"
    if wanted == "sdes":
        return "sdes"
    if wanted == "off":
        return None if was == "plain" else "plain"
    return "plain" if was == "web" else None


class Party:
    """One side of such a line. `mode` and `protocol` are those of its last description; `muxed`: its RTCP comes on the
    RTP port; `rtp` and `rtcp` may belong to another line whose port this one shares."""

    def __init__(self, rtp: End, rtcp: End, surroundings: Surroundings) -> None:
        self.own = (Component(rtp, surroundings), Component(rtcp, surroundings))
        self.rtp, self.rtcp = self.own
        self.mode: Mode | None = None
        self.protocol = b""
        self.muxed = False
        self.mid: bytes | None = None
        self._shown: Mode | None = None
        self._chosen: Crypto | None = None
        self._keys: dict[Suite, bytes] = {}
        self._surroundings = surroundings

    @property
    def by_ice(self) -> bool:
        """Whether connectivity checks decide where it is, not descriptions."""
        return self.own[0].proven

    def offered(self, plan: Plan, index: int, port: int) -> Face:
        """What it is shown in an offer."""
        mode, was = plan.mode, plan.protection
        self._shown = mode
        if mode == "web" and self.mid is None:
            self.mid = was.mid if was.mode == "web" and was.mid else b"%d" % index
        cryptos = tuple(Crypto(number, suite, self._key(suite)) for number, suite in enumerate(sdes.SUITES, 1))
        return Face(
            mode,
            was.mode,
            profile(mode, was.mode, was.protocol),
            port,
            cryptos=cryptos if mode == "sdes" else (),
            fingerprint=self._fingerprint(mode),
            setup=b"actpass",
            ice=self._ice().local if mode == "web" else None,
            mid=self.mid,
            muxed=mode in ("dtls", "web"),
        )

    def answered(self, was: Mode, port: int) -> Face:
        """What it is shown in the answer to its own offer."""
        mode = self.mode or "plain"
        chosen = self._chosen
        cryptos = () if chosen is None else (Crypto(chosen.tag, chosen.suite, self._key(chosen.suite)),)
        return Face(
            mode,
            was,
            self.protocol,
            port,
            cryptos=cryptos if mode == "sdes" else (),
            fingerprint=self._fingerprint(mode),
            setup=self._role(),
            ice=self._ice().local if mode == "web" else None,
            mid=self.mid,
            muxed=self.muxed,
        )

    def hear(self, said: Protection, *, offer: bool) -> None:
        """Its description takes effect. `said.demand()` has been called."""
        self.mode, self.protocol = said.mode, said.protocol
        self.mid = said.mid if said.mid is not None and said.mode == "web" else self.mid
        self.muxed = said.mode == "web" or (said.mode == "dtls" and said.muxed)
        rtp, rtcp = self.own
        for component in self.own:
            component.clear = said.mode in ("plain", "other")
            if component.clear:
                component.unkey()
        if said.mode == "sdes":
            self._chosen = crypto = said.cryptos[0]
            for component in self.own:
                component.key(crypto.suite, crypto.key, self._key(crypto.suite))
        elif said.mode in ("dtls", "web"):
            self._hear_ice(said, offer)
            for component in (rtp,) if self.muxed else (rtp, rtcp):
                component.associate(said.fingerprints, said.setup)
        self.rtp, self.rtcp = rtp, rtp if self.muxed else rtcp

    def compare(self, said: Protection) -> None:
        """Raises `RemoteError` 488 when its answer is not of the kind that it was offered."""
        encrypted = "dtls" if said.mode == "web" else said.mode
        if self._shown is not None and encrypted != ("dtls" if self._shown == "web" else self._shown):
            raise RemoteError(488, b"Not the protection that was offered")

    def lend(self, face: Face) -> Face:
        """What another line is shown that shares this one's port."""
        return replace(face, ice=self._ice().local, setup=self._role())

    def share(self, first: Party) -> None:
        """This line is on the port of another one."""
        self.rtp, self.rtcp = first.rtp, first.rtcp

    def memory(self) -> dict[str, Any] | None:
        """What `recall` needs, as JSON has it: keys among it. None when another process cannot go on with them."""
        components = [component.memory() for component in self.own]
        if None in components:
            return None
        chosen = self._chosen
        return {
            "mode": self.mode,
            "protocol": self.protocol.decode("latin-1"),
            "muxed": self.muxed,
            "mid": None if self.mid is None else self.mid.decode("latin-1"),
            "shown": self._shown,
            "chosen": None if chosen is None else [chosen.tag, chosen.suite.name.decode(), chosen.key.hex()],
            "keys": {suite.name.decode(): key.hex() for suite, key in self._keys.items()},
            "components": components,
        }

    def recall(self, memory: Mapping[str, Any], now: float) -> None:
        """Be what the party was whose `memory` this is. Raises `LookupError` when that cannot be."""
        self.mode, self._shown, self.muxed = memory["mode"], memory["shown"], memory["muxed"]
        self.protocol = memory["protocol"].encode("latin-1")
        self.mid = None if memory["mid"] is None else memory["mid"].encode("latin-1")
        if memory["chosen"] is not None:
            tag, name, key = memory["chosen"]
            self._chosen = Crypto(tag, sdes.BY_NAME[name.encode()], bytes.fromhex(key))
        self._keys = {sdes.BY_NAME[name.encode()]: bytes.fromhex(key) for name, key in memory["keys"].items()}
        for component, each in zip(self.own, memory["components"], strict=True):
            component.recall(each, now)
        self.rtp, self.rtcp = self.own[0], self.own[0] if self.muxed else self.own[1]

    def _hear_ice(self, said: Protection, offer: bool) -> None:
        component = self.own[0]
        ice = self._ice() if said.ice is not None else None
        component.prove(said.mode == "web" and not said.lite)
        if said.ice is None or ice is None:
            return
        if ice.remote_ufrag not in (None, said.ice.ufrag):
            if offer:
                ice.restart(self._credentials())
            else:
                component.ice = ice = IceLite(ice.local)
                component.end.settle(None)
        ice.remote_ufrag = said.ice.ufrag

    def _role(self) -> bytes:
        association = self.own[0].dtls
        return b"active" if association is not None and association.active else b"passive"

    def _ice(self) -> IceLite:
        component = self.own[0]
        if component.ice is None:
            component.ice = IceLite(self._credentials())
        return component.ice

    def _credentials(self) -> Credentials:
        ufrag, password = (urlsafe_b64encode(self._surroundings.random(size)) for size in (_UFRAG, _PASSWORD))
        # `-` and `_` are no ice-chars (RFC 8839 section 5.4)
        return Credentials(*(word.replace(b"-", b"+").replace(b"_", b"/") for word in (ufrag, password)))

    def _key(self, suite: Suite) -> bytes:
        """Our own key of a suite: the same for the whole call, so that offers again disturb nothing."""
        if suite not in self._keys:
            self._keys[suite] = self._surroundings.random(suite.size)
        return self._keys[suite]

    def _fingerprint(self, mode: Mode) -> bytes:
        return self._surroundings.identity().fingerprint.render() if mode in ("dtls", "web") else b""


class Crossing:
    """Both parties of a line, joined."""

    def __init__(self, rtp: dict[Side, End], rtcp: dict[Side, End], surroundings: Surroundings) -> None:
        self.parties: dict[Side, Party] = {side: Party(rtp[side], rtcp[side], surroundings) for side in rtp}

    def components(self) -> list[Component]:
        """Its own four."""
        return [component for party in self.parties.values() for component in party.own]

    def join(self, formats: frozenset[int], shared: dict[Side, bool]) -> None:
        """Lead packets across. On a `shared` port this line is told from the others by its `formats`."""
        for side, party in self.parties.items():
            far = self.parties[other(side)]
            onward = Onward(far.rtp, far.rtcp)
            if party.rtp is party.own[0]:
                party.rtp.onward = party.rtcp.onward = onward
                party.rtp.by_format.clear()
            if shared[side]:
                party.rtp.by_format.update(dict.fromkeys(formats, onward))

    def memory(self) -> dict[str, Any] | None:
        """Both parties'; see there."""
        a, b = self.parties["a"].memory(), self.parties["b"].memory()
        if a is None or b is None:
            return None
        return {"a": a, "b": b, "joined": self.parties["a"].own[0].onward is not None}

    def recall(self, memory: Mapping[str, Any], now: float) -> bool:
        """See `Party.recall`. Returns whether it was joined."""
        for side, party in self.parties.items():
            party.recall(memory[side], now)
        return bool(memory["joined"])

    def failure(self, now: float) -> str:
        """Why this line can carry nothing any more; empty while it can."""
        for party in self.parties.values():
            party.rtp.look(now)
        return next((each.failure for each in self.components() if each.failure), "")

    def close(self) -> None:
        """Stop what is under way."""
        for component in self.components():
            component.close()
            component.onward = None
            component.by_format.clear()
