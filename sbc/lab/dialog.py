"""One side of a SIP dialog: what its requests look like (RFC 3261 section 12). Pure.

In: the request and response that made it. Out: requests inside of it, and where they go first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sbc.sip import NameAddr, Request, Response, Uri
from sbc.sip.build import make_request

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Dialog:
    """`local` and `remote` are From and To values of our requests, tags included; `target` the remote Contact's URI;
    `route` the route set as Route values, the first hop first; `cseq` the number of our last request."""

    call_id: bytes
    local: bytes
    remote: bytes
    target: bytes
    route: list[bytes] = field(default_factory=list)
    cseq: int = 0

    @classmethod
    def of_caller(cls, invite: Request, response: Response) -> Dialog:
        """The caller's side, of the INVITE sent and a response with a To tag (section 12.1.2)."""
        return cls(
            invite.call_id,
            invite.first(b"from") or b"",
            response.first(b"to") or b"",
            target_of(response) or invite.uri,
            response.each(b"record-route")[::-1],
            invite.cseq.number,
        )

    @classmethod
    def of_callee(cls, invite: Request, tag: bytes) -> Dialog:
        """The callee's side, of the INVITE received and the tag it answers with (section 12.1.1)."""
        return cls(
            invite.call_id,
            (invite.first(b"to") or b"") + b";tag=" + tag,
            invite.first(b"from") or b"",
            target_of(invite) or b"",
            invite.each(b"record-route"),
            0,
        )

    @property
    def next_hop(self) -> Uri:
        """Where requests go: the first route, else the target. All routers are taken to be loose."""
        return NameAddr.parse(self.route[0]).uri if self.route else Uri.parse(self.target)

    def request(
        self, method: bytes, via: bytes, headers: list[Header], body: bytes = b"", *, cseq: int | None = None
    ) -> Request:
        """The next request of this side. An ACK has the number of its INVITE: `cseq`."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        return make_request(
            method,
            self.target,
            via=via,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            headers=[*((b"route", value) for value in self.route), *headers],
            body=body,
        )


def target_of(message: Request | Response) -> bytes | None:
    """The URI of the Contact."""
    contacts = message.contacts
    return contacts[0].uri.render() if contacts else None


def key_of(message: Request | Response, local_tag: bytes | None) -> tuple[bytes, bytes]:
    """Under what a dialog is found: Call-ID and the local tag."""
    return message.call_id, local_tag or b""
