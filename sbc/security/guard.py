"""The guard at the door: allow list before deny list before bans before rates. Pure.

Fits `transport.flow.Gate`; the dispatch asks `request` and tells `offence`.
"""

from collections.abc import Iterable

from sbc.security.access import AccessList
from sbc.security.bans import Ban, BanPolicy, BanTable, Recorder
from sbc.security.rates import Rates
from sbc.security.settings import SecuritySettings
from sbc.security.slots import Slots
from sbc.transport.address import source_of

AGENTS = 1_024
"""User-Agents remembered, whether each is a scanner's; there are some hundred in real traffic."""

AGENT_BYTES = 128
"""Bytes of one that is remembered."""


class Guard:
    """Decides for one node who may speak, by address alone."""

    def __init__(self, settings: SecuritySettings, recorder: Recorder) -> None:
        self.bans = BanTable(_policy(settings), recorder)
        self._ringing = Slots(settings.ringing_per_source)
        self._friends: frozenset[str] = frozenset()
        self.configure(settings)

    def configure(self, settings: SecuritySettings) -> None:
        """Take new settings. Bans stay, but none holds against the allow list."""
        self._allow = AccessList(settings.allow)
        self._deny = AccessList(settings.deny)
        self._ringing.limit = settings.ringing_per_source
        self._rates = Rates(settings.source_rate, settings.source_burst)
        self._told: dict[str, int] = {}
        self._ban = settings.ban
        self._scanners = tuple(word.lower().encode() for word in settings.scanners)
        self._agents: dict[bytes, bool] = {}
        self.bans.policy = _policy(settings)

    def befriend(self, hosts: Iterable[str]) -> None:
        """The addresses of our own upper servers, as resolved now: exempt like the allow list."""
        self._friends = frozenset(hosts)

    def admits(self, host: str) -> bool:
        """Whether anything from this address is read at all."""
        if not self.bans and not self._deny:
            return True
        if self.exempt(host):
            return True
        return host not in self._deny and not self.bans.banned(host)

    def exempt(self, host: str) -> bool:
        """Whether this address is never banned nor limited."""
        return host in self._friends or host in self._allow

    def known(self, host: str) -> bool:
        """Whether somebody we serve is at this address: exempt, or one from where a phone registered lately."""
        return self.exempt(host) or self.bans.vouched(host)

    def request(self, host: str, now: float, at: float, *, proven: bool) -> bool:
        """Whether one more request of this address is served; False: drop it, which counts as an offence."""
        if self.exempt(host) or self._rates.take(source_of(host), now):
            return True
        # One offence a second, however many requests: the rate says nothing about intent.
        if len(self._told) > 1_024:
            self._told.clear()
        if self._told.get(host) != int(now):
            self._told[host] = int(now)
            self.offence(host, "flood", at, proven=proven)
        return False

    def ring(self, host: str) -> str | None:
        """A place for one more unanswered call of this address; None when its source holds all it may.

        Media is set up before anybody answers, so that who may ring for nothing holds ports for nothing. The place is
        given back by `rang`, once.
        """
        if self.exempt(host):
            return ""
        source = source_of(host)
        return source if self._ringing.take(source) else None

    def rang(self, place: str) -> None:
        """A call is answered, or over: its place is free."""
        if place:
            self._ringing.give_back(place)

    def scanner(self, user_agent: bytes | None) -> bool:
        """Whether a User-Agent names a scanning tool."""
        if not user_agent:
            return False
        known = self._agents.get(user_agent)
        if known is None:
            lower = user_agent.lower()
            known = any(word in lower for word in self._scanners)
            if len(user_agent) <= AGENT_BYTES:
                if len(self._agents) >= AGENTS:
                    self._agents.clear()
                self._agents[user_agent] = known
        return known

    def offence(self, host: str, kind: str, at: float, *, proven: bool) -> Ban | None:
        """What `BanTable.offence` does, unless the address is exempt or automatic bans are off."""
        if not self._ban or self.exempt(host):
            return None
        return self.bans.offence(host, kind, at, proven=proven)


def _policy(settings: SecuritySettings) -> BanPolicy:
    return BanPolicy(
        score=settings.ban_score, window=settings.ban_window, duration=settings.ban_time, longest=settings.ban_longest
    )
