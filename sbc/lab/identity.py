"""A user name and password, and answering challenges with them (RFC 3261 section 22, RFC 7616, RFC 8760).

In: a request and the 401 or 407 it got. Out: the same request with credentials.
"""

from __future__ import annotations

import secrets

from sbc.sip import ParseError, Request, Response
from sbc.sip.digest import HASHES, Challenge, answer, can_answer, ha1

PAIRS = ((b"www-authenticate", b"authorization"), (b"proxy-authenticate", b"proxy-authorization"))


class Identity:
    """Who somebody is at one upper server. Counts the uses of each nonce. `hashes` are those that are known here, by
    name, `used` those that challenges were answered with."""

    def __init__(self, username: str, password: str) -> None:
        self.username = username
        self.password = password
        self.hashes = frozenset(HASHES)
        self.used: list[str] = []
        self._uses: dict[bytes, int] = {}

    def ha1(self, realm: str) -> str:
        """The MD5 HA1 for a realm: what X-PIID says."""
        return ha1(self.username, realm, self.password)

    def prove(self, request: Request, response: Response) -> bool:
        """Put credentials for each challenge into `request`; False when there is none that can be answered."""
        proved = False
        for asked, given in PAIRS:
            if not response.has(asked):
                continue
            request.remove(given)
            for value in response.lines(asked):
                credentials = self._answer(value, request)
                if credentials is not None:
                    request.add(given, credentials)
                    proved = True
                    break
        return proved

    def _answer(self, value: bytes, request: Request) -> bytes | None:
        try:
            challenge = Challenge.parse(value)
        except ParseError:
            return None
        algorithm = challenge.algorithm.removesuffix("-sess")
        if algorithm not in self.hashes or not can_answer(challenge, algorithm):
            return None
        self.used.append(algorithm)
        count = self._uses[challenge.nonce] = self._uses.get(challenge.nonce, 0) + 1
        return answer(
            challenge,
            username=self.username,
            ha1=ha1(self.username, challenge.realm, self.password, algorithm),
            method=request.method,
            uri=request.uri,
            body=request.body,
            nc=count,
            cnonce=secrets.token_hex(8),
        )
