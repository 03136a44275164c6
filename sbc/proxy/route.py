"""Whose request this is and where it may go: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sbc.proxy.branch import Candidate
from sbc.proxy.target import Target
from sbc.registrar.flows import Resident
from sbc.sip.errors import RemoteError
from sbc.sip.message import Request
from sbc.sip.uri import escape_user
from sbc.upper.rules import Inquiry
from sbc.upper.servers import UpperServer, UpperServers

TOKEN_LENGTH = 24
"""Characters of the opaque user part under which an upper server knows one of our users."""


@dataclass(frozen=True, slots=True)
class ToUser:
    """The request is for a user of ours: by the opaque user part that the upper server knows, or by name and domain."""

    origin: UpperServer
    token: str | None
    username: str
    domain: str
    fallback: UpperServer | None
    """Where it goes when there is no such user here; None: 404."""


@dataclass(frozen=True, slots=True)
class ToUpper:
    """The request goes to an upper server."""

    server: UpperServer


def choose(
    request: Request,
    *,
    source: tuple[str, int],
    resident: Callable[[], Resident | None],
    servers: UpperServers,
    ours: frozenset[bytes],
    lookup: str = "auto",
) -> ToUser | ToUpper:
    """Where a request outside any dialog goes. Raises RemoteError where it may go nowhere.

    What comes from an upper server is for one of our users. What comes from anybody else goes up, to the server of its
    domain; to a domain that is no server's only for a device that registered on this flow: nothing is relayed for
    strangers. `lookup`: whether the server that a device is registered at takes what names no server (`fallback`,
    `auto`), everything (`always`) or nothing (`no`).
    """
    uri = request.parsed_uri
    if not uri.is_sip:
        raise RemoteError(416, b"Unsupported URI Scheme")
    lodger = resident()
    origin = servers.by_source(source[0]) if lodger is None else None
    host = uri.host.lower()
    if origin is not None:
        if uri.user is None:
            raise RemoteError(404, b"No User Named")
        username = uri.username
        token = username.lower() if len(username) == TOKEN_LENGTH and username.isalnum() else None
        turned_back = host not in (origin.domain, origin.uri.host.lower()) or (
            servers.is_address(origin, *source) or _passed_us(request, ours)
        )
        return ToUser(origin, token, username, origin.domain.decode(), None if turned_back else origin)
    home = servers.get(lodger.upper) if lodger is not None and lookup != "no" else None
    if home is not None and lookup == "always":
        return ToUpper(home)
    server = servers.by_domain(host)
    if server is not None:
        return ToUpper(server)
    if home is not None:
        return ToUpper(home)
    if host in ours:
        server = servers.by_domain(request.from_.uri.host) or servers.preferred()
        if server is None:
            raise RemoteError(503, b"No Upper Server")
        return ToUpper(server)
    raise RemoteError(403, b"Relaying Denied")


def to_uppers(
    request: Request, servers: Iterable[UpperServer], called: str, names: frozenset[bytes]
) -> list[Candidate[Target]]:
    """Upper servers as a target: the first, the others in reserve.

    `called` is the user part that they get to see. A Request-URI that names one of `names`, hosts of ours or domains of
    other servers, names the server's own domain.
    """
    uri = request.parsed_uri
    renamed = uri.user is not None and called != uri.username
    if renamed:
        uri = uri.replace(user=escape_user(called))
    found: list[Candidate[Target]] = []
    for server in servers:
        host = uri.host.lower()
        shown = uri.render() if renamed else request.uri
        if host != server.domain and host in names:
            shown = uri.replace(host=server.domain, port=None).render()
        target = Target(shown, server.name, server=server, called=called)
        again = sum(each.target.server is server for each in found)
        found.append(Candidate(f"upper:{server.name}" + (f"#{again}" if again else ""), target, True, False))
    return [replace(found[0], reserve=tuple(found[1:]))] if len(found) > 1 else found


def inquiry(request: Request, source: str, direction: str) -> Inquiry:
    """A request as routing rules see it."""
    called, caller = request.parsed_uri, request.from_.uri
    return Inquiry(
        request.method.decode("ascii", "replace"),
        caller.username,
        called.username,
        called.host.decode("ascii", "replace").lower(),
        source,
        direction,
    )


def caller_key(request: Request, server: UpperServer, lodger: Resident | None) -> str:
    """What the choice among servers of equal worth hangs on: the user who asks, so that a challenge is answered to
    the server that made it and calls go where their user is registered; else the call."""
    if lodger is not None:
        return f"{lodger.username}@{lodger.domain}"
    sender = request.from_.uri
    if sender.is_sip and sender.user is not None:
        return f"{sender.username}@{server.domain.decode()}"
    return request.call_id.decode("utf-8", "replace")


def loosen(request: Request, ours: Iterable[bytes]) -> None:
    """Undo what a strict router did to a request that was routed through us by a URI of ours with `lr`: the
    Request-URI is ours then, and the true one stands in the last Route (RFC 3261 §16.4)."""
    uri = request.parsed_uri
    if uri.user is not None or b"lr" not in uri.params or uri.host.lower() not in ours:
        return
    routes = request.each(b"route")
    if routes:
        request.uri = request.routes[-1].uri.render()
        request.replace(b"route", routes[:-1])


def names_us(request: Request, ours: Iterable[bytes]) -> bool:
    """Whether the Request-URI is the SBC itself, no user of it."""
    uri = request.parsed_uri
    return uri.user is None and uri.host.lower() in ours


def _passed_us(request: Request, ours: frozenset[bytes]) -> bool:
    return any(passed.host.lower() in ours for passed in request.vias[1:])
