"""One port of the relay on a line whose protection ends here: what arrives is told apart (RFC 7983), checked, decrypted
and handed to the component that faces the other party, which encrypts it anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sbc.media.dtls import Association, Identity, Keys
from sbc.media.end import End
from sbc.media.forward import Forwarder
from sbc.media.ice import IceLite
from sbc.media.indexes import Book, Page
from sbc.media.latch import Source
from sbc.media.protection import Fingerprint
from sbc.media.rtp import HEADER_SIZE
from sbc.media.sdes import BY_NAME, Suite
from sbc.media.srtp import Opener, Refused, Sealer

#: Seconds in which keys must be agreed on after an answer: what RFC 7675 gives a path that was there.
PATIENCE = 30.0
#: A failure that is none of encryption.
GONE = "ICE: the peer is gone"
#: Bytes of the shortest RTCP packet.
_RTCP_SIZE = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What components need of the process: the forwarder that serves their sockets, `later(seconds, call)`, the
    certificate (made when first asked for), so many random bytes, the indexes of SRTP streams. `changed` is called when
    there is something new to remember that no description said."""

    forwarder: Forwarder
    later: Callable[..., Any]
    identity: Callable[[], Identity]
    random: Callable[[int], bytes]
    book: Book
    changed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Onward:
    """Where the packets of one line go: the components facing the other party."""

    rtp: Component
    rtcp: Component


class Component:
    """A port that faces one party. `clear`: that party's packets are not encrypted; `proven`: only sources that passed
    a connectivity check are believed, else the latch decides; `failure`: why its keys can never be agreed on, or that
    the party is gone. On a port that several lines share (RFC 9143) `by_format` tells them by payload type.
    """

    __slots__ = (
        "_aside", "_asked_at", "_keyed", "_sources", "_surroundings", "_timer", "by_format", "clear", "dtls", "end",
        "failure", "ice", "onward", "opener", "proven", "sealer",
    )  # fmt: skip

    def __init__(self, end: End, surroundings: Surroundings) -> None:
        self.end = end
        self.clear = True
        self.proven = False
        self.ice: IceLite | None = None
        self.dtls: Association | None = None
        self.opener: Opener | None = None
        self.sealer: Sealer | None = None
        self.onward: Onward | None = None
        self.by_format: dict[int, Onward] = {}
        self.failure = ""
        self._aside: dict[bytes, Sealer] = {}
        self._asked_at: float | None = None
        self._sources: dict[bytes, Onward] = {}
        self._surroundings = surroundings
        self._timer: Any = None
        self._keyed: Association | None = None

    def take(self, buffer: bytearray, now: float) -> None:
        """Read one datagram from the socket and deal with it. Raises `OSError` when there is none."""
        size, source = self.end.receive(buffer)
        self.receive(bytes(memoryview(buffer)[:size]), source, now)

    def receive(self, data: bytes, source: Source, now: float) -> None:
        """A datagram. Never raises for what is in it."""
        first = data[0] if data else 255
        if 128 <= first < 192:
            self._media(data, source, now)
        elif first < 4:
            self._check(data, source, now)
        elif 20 <= first < 64:
            self._handshake(data, source, now)
        else:
            self.end.foreign += 1

    def send(self, packet: bytes, *, rtcp: bool) -> bool:
        """Send a clear packet to the party; False when that is not possible yet: nobody knows where it is, or keys are
        not agreed on."""
        end, sealer = self.end, self.sealer
        destination = end.destination
        if destination is None:
            return False
        if not self.clear:
            if sealer is None:
                return False
            try:
                packet = sealer.rtcp(packet) if rtcp else sealer.rtp(packet)
            except Refused:
                return False
        self._put(packet, destination)
        return True

    # Keys

    def key(self, suite: Suite, inbound: bytes, outbound: bytes) -> None:
        """Keys are agreed on. The ones there are go on where they are the same."""
        book = self._surroundings.book
        if self.opener is None or not self.opener.same(suite, inbound):
            self._give_back(self.opener)
            self.opener = Opener(suite, inbound, book.take())
        if self.sealer is None or not self.sealer.same(suite, outbound):
            self._put_aside()
            self.sealer = self._aside.pop(outbound, None) or Sealer(suite, outbound, book.take())
        self._change()

    def associate(self, fingerprints: frozenset[Fingerprint], setup: bytes) -> None:
        """Agree on keys by DTLS with a peer that has one of these certificates and wants this role; `actpass` leaves
        ours as it is. The same peer in the same role goes on with the keys there are (RFC 8842)."""
        known = self.dtls
        same = known is not None and not known.failure and known.fingerprints == fingerprints
        active = setup == b"passive"
        if known is not None and same and (setup == b"actpass" or known.active == active):
            return
        self.unkey()
        self.dtls = Association(self._surroundings.identity(), fingerprints, active=active)
        self.begin()

    def prove(self, proven: bool) -> None:
        """Whether connectivity checks are demanded from now on. Some may have come before the description."""
        if proven and not self.proven and self.ice is not None:
            self.end.settle(self.ice.selected)
        self.proven = proven

    def unkey(self) -> None:
        """Forget keys and association."""
        self._cease()
        self._give_back(self.opener)
        self.opener = None
        self._put_aside()
        self._change()
        self.dtls = self._keyed = None
        self.failure = ""
        self._asked_at = None

    def begin(self) -> None:
        """As DTLS client, say the first word as soon as somebody is there to hear it."""
        if self.dtls is not None and self.end.destination is not None:
            self._say(self.dtls.begin(), self.end.destination)

    def close(self) -> None:
        """Stop what is under way; the keys are not used any more."""
        self._cease()
        for cipher in (self.opener, self.sealer, *self._aside.values()):
            self._give_back(cipher)
        self.opener = self.sealer = None
        self._aside.clear()

    def part(self) -> None:
        """Another process goes on with the keys."""
        self._cease()
        for cipher in (self.opener, self.sealer, *self._aside.values()):
            if cipher is not None:
                self._surroundings.book.part(cipher.page)
        self.opener = self.sealer = None
        self._aside.clear()

    # Going on in another process

    def memory(self) -> dict[str, Any] | None:
        """What `recall` needs, as JSON has it: keys among it. None when another process cannot go on with them."""
        ciphers = [None if each is None else _written(each) for each in (self.opener, self.sealer)]
        aside = [_written(each) for each in self._aside.values()]
        if any(each is not None and each[2] < 0 for each in (*ciphers, *aside)):
            return None
        dtls = self.dtls
        prints = None if dtls is None else [[each.hash.decode(), each.digest.hex()] for each in dtls.fingerprints]
        return {
            "clear": self.clear,
            "proven": self.proven,
            "failure": self.failure,
            "ice": None if self.ice is None else self.ice.memory,
            "dtls": None if dtls is None else [prints, dtls.active, dtls.keys is not None],
            "ciphers": ciphers,
            "aside": aside,
        }

    def recall(self, memory: Mapping[str, Any], now: float) -> None:
        """Be what the component was whose `memory` this is. Raises `LookupError` when that cannot be."""
        self.clear, self.proven, self.failure = memory["clear"], memory["proven"], memory["failure"]
        inbound, outbound = memory["ciphers"]
        self.opener = None if inbound is None else Opener(*self._read(inbound))
        self.sealer = None if outbound is None else Sealer(*self._read(outbound))
        self._aside = {each.key: each for each in (Sealer(*self._read(cipher)) for cipher in memory["aside"])}
        if memory["ice"] is not None:
            self.ice = IceLite.recall(memory["ice"], now)
        if self.proven:
            self.end.settle(None if self.ice is None else self.ice.selected)
        if memory["dtls"] is not None:
            prints, active, agreed = memory["dtls"]
            fingerprints = frozenset(Fingerprint(name.encode(), bytes.fromhex(digest)) for name, digest in prints)
            keys = None
            if agreed and self.opener is not None and self.sealer is not None:
                keys = Keys(self.opener.suite, self.opener.key, self.sealer.key)
            self.dtls = Association(self._surroundings.identity(), fingerprints, active=active, keys=keys)
            self._keyed = None if keys is None else self.dtls

    def _read(self, cipher: list[Any]) -> tuple[Suite, bytes, Page]:
        name, key, number, tag = cipher
        page = self._surroundings.book.find(number, tag)
        if page is None:
            raise LookupError("nobody knows what was sent with these keys")
        return BY_NAME[name.encode()], bytes.fromhex(key), page

    def _put_aside(self) -> None:
        """Our own key of a suite is the same for the whole call. It may be left and come into use again: then it goes
        on where it stood, for nothing may be sealed twice under one index. (DTLS gives new keys each time.)"""
        if self.sealer is not None and self.dtls is None:
            self._aside[self.sealer.key] = self.sealer
        else:
            self._give_back(self.sealer)
        self.sealer = None

    def _give_back(self, cipher: Opener | Sealer | None) -> None:
        if cipher is not None:
            self._surroundings.book.give(cipher.page)

    def _change(self) -> None:
        self.end.changes += 1
        self._surroundings.changed()

    def look(self, now: float) -> None:
        """Notice that the party is gone (RFC 7675): nothing more is sent; or that it never agreed on keys."""
        if self.dtls is not None and self.opener is None and not self.failure:
            self._asked_at = now if self._asked_at is None else self._asked_at
            if now - self._asked_at >= PATIENCE:
                self.failure = "DTLS: no handshake" if self.end.destination else "ICE: no connectivity check"
        if self.proven and self.ice is not None and not self.ice.consents(now):
            self.failure = GONE
            self.end.settle(None)

    # What arrives

    def _media(self, data: bytes, source: Source, now: float) -> None:
        end, size = self.end, len(data)
        rtcp = size > 1 and 192 <= data[1] <= 223
        if size < (_RTCP_SIZE if rtcp else HEADER_SIZE) or not self._plausible(source):
            end.foreign += 1
            return
        if not self.clear:
            if self.opener is None:
                end.refused += 1
                return
            try:
                data = self.opener.rtcp(data) if rtcp else self.opener.rtp(data)
            except Refused:
                end.refused += 1
                return
        if not self.proven and source != end.source and not end.accept(source, now):
            end.foreign += 1
            return
        end.reception.take(data, size, now)
        if rtcp:
            end.reports.note(data)
        onward = self._line(data, rtcp) if self.by_format else self.onward
        if onward is None or not (onward.rtcp if rtcp else onward.rtp).send(data, rtcp=rtcp):
            end.homeless += 1

    def _line(self, packet: bytes, rtcp: bool) -> Onward | None:
        """Which of the lines on this port a packet belongs to; for reports the one of their sender."""
        if rtcp:
            return self._sources.get(packet[4:8], self.onward)
        onward = self.by_format.get(packet[1] & 0x7F, self.onward)
        if onward is not None:
            self._sources[packet[8:12]] = onward  # as many as the ciphers admit
        return onward

    def _plausible(self, source: Source) -> bool:
        """Whether it is worth looking into: what strangers send would only cost time."""
        if self.proven:
            return self.ice is not None and self.ice.believes(source)
        return source == self.end.source or self._surroundings.forwarder.plausible_source(self.end, source)

    def _check(self, data: bytes, source: Source, now: float) -> None:
        if self.ice is None or self._surroundings.forwarder.named(source[:2]) is not None:
            self.end.foreign += 1  # through a port of our own a peer could lead packets in circles
            return
        answer = self.ice.receive(data, source, now)
        if answer is not None:
            self._put(answer, source)
        if self.proven and self.ice.selected != self.end.destination:
            self.end.settle(self.ice.selected)
            self._surroundings.changed()
            self.begin()

    def _handshake(self, data: bytes, source: Source, now: float) -> None:
        end, dtls = self.end, self.dtls
        believed = dtls is not None and self._plausible(source)
        if believed and not self.proven and source != end.source:
            believed = end.accept(source, now)
        if dtls is None or not believed:
            end.foreign += 1
            return
        self._say(dtls.receive(data), source)
        if dtls.keys is not None and self._keyed is not dtls:
            self._keyed = dtls
            self.key(dtls.keys.suite, dtls.keys.inbound, dtls.keys.outbound)
        self.failure = self.failure or dtls.failure

    def _say(self, datagrams: list[bytes], destination: Source) -> None:
        for datagram in datagrams:
            self._put(datagram, destination)
        self._cease()
        wait = None if self.dtls is None else self.dtls.wait()
        if wait is not None:
            self._timer = self._surroundings.later(wait, self._repeat)

    def _cease(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _repeat(self) -> None:
        self._timer = None
        if self.dtls is not None and self.end.destination is not None:
            self._say(self.dtls.timeout(), self.end.destination)

    def _put(self, data: bytes, destination: Source) -> None:
        try:
            self.end.send(data, destination)
        except OSError:
            self.end.unsent += 1


def _written(cipher: Opener | Sealer) -> list[Any]:
    return [cipher.suite.name.decode(), cipher.key.hex(), cipher.page.number, cipher.page.tag]
