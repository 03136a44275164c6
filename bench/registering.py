"""Microseconds of CPU that one registration costs inside the SBC: bytes in to bytes out, no sockets, no database.

A new user's phone registers through to an upper server: REGISTER 401 REGISTER 200, four messages in, four out; with
`push` its Contact carries a push token. Run it with `python -m bench.registering [registrations] [push] [--profile]`.
"""

from __future__ import annotations

import sys

from twisted.internet.defer import succeed

from bench.proxy import World, header, measure
from sbc.store.operations import Saved

CONTACT = b'Contact: <sip:u%d@198.51.100.10:5060;ob%b>;+sip.instance="<urn:uuid:00000000-0000-4000-8000-%012d>"'
PUSH = b";pn-provider=apns;pn-param=DEF123GHIJ.com.example.phone.voip;pn-prid=%064x"
CHALLENGE = b'WWW-Authenticate: Digest realm="example.com", nonce="bm9uY2UtYmVuY2g=", algorithm=MD5, qop="auth"'
CREDENTIALS = (
    b'Authorization: Digest username="u%d", realm="example.com", nonce="bm9uY2UtYmVuY2g=", uri="sip:example.com",'
    b' response="0123456789abcdef0123456789abcdef", algorithm=MD5, qop=auth, nc=00000001, cnonce="5d1e0f2a"'
)


class Phones(World):
    """Phones that register through the SBC, whose store agrees at once."""

    def __init__(self, push: bool) -> None:
        super().__init__()
        self.push = push
        saved = Saved(1, 1, 1)
        self.node.store.write = lambda operation: succeed(saved)  # type: ignore[method-assign,arg-type]

    def register(self) -> None:
        """One registration of a user who was never here."""
        self.calls += 1
        number = self.calls
        self.phone.out.clear()
        self.upper.out.clear()
        self._ask(number, 1, [])
        self._answer(b"401 Unauthorized", [CHALLENGE])
        self._ask(number, 2, [CREDENTIALS % number])
        self._answer(b"200 OK", [b"Contact: " + header(self.upper.out[-1], b"Contact")])
        if len(self.phone.out) != 2 or not self.phone.out[-1].startswith(b"SIP/2.0 200"):
            raise AssertionError(f"not registered: {self.phone.out}")

    def _ask(self, number: int, step: int, more: list[bytes]) -> None:
        lines = [
            b"REGISTER sip:example.com SIP/2.0",
            b"Via: SIP/2.0/UDP 198.51.100.10:5060;branch=z9hG4bKreg%d-%d;rport" % (number, step),
            b"Max-Forwards: 70",
            b"From: <sip:u%d@example.com>;tag=r%d" % (number, number),
            b"To: <sip:u%d@example.com>" % number,
            b"Call-ID: reg%d@198.51.100.10" % number,
            b"CSeq: %d REGISTER" % step,
            CONTACT % (number, PUSH % number if self.push else b"", number),
            b"Expires: 3600",
            *more,
            b"Supported: path, outbound, gruu",
            b"User-Agent: Load/1.0",
            b"Content-Length: 0\r\n\r\n",
        ]
        self.node.border.received(b"\r\n".join(lines), self.phone)

    def _answer(self, status: bytes, more: list[bytes]) -> None:
        sent = self.upper.out[-1]
        copied = [name + b": " + header(sent, name) for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")]
        copied[2] += b";tag=upper"
        lines = [b"SIP/2.0 " + status, *copied, *more, b"Content-Length: 0\r\n\r\n"]
        self.node.border.received(b"\r\n".join(lines), self.upper)


def main() -> None:
    push = "push" in sys.argv
    measure("register" + (" with push" if push else "") + ": 4 messages in and 4 out", Phones(push).register)


if __name__ == "__main__":
    main()
