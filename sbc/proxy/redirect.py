"""Redirections (3xx): the SBC follows those of upper servers itself, and shows no side where the other lives. Pure.

RFC 3261 §16.5 and §16.7 step 4: the Contacts of a 3xx may join the target set. Those that lead to a known upper server
do; nothing is sent anywhere else because some server said so.
"""

from __future__ import annotations

from sbc.proxy.branch import Candidate
from sbc.proxy.target import Target
from sbc.registrar.decide import preference
from sbc.sip.errors import ParseError
from sbc.sip.message import Response
from sbc.sip.uri import Uri
from sbc.sip.values import NameAddr
from sbc.upper.servers import UpperServer, UpperServers

MOST = 8
"""Contacts of one redirection that are followed, and targets that one request may have where redirections made some:
a chain longer than this is a mistake of somebody's configuration."""

_KEPT = (b"user", b"gr")
"""URI parameters that say who is meant; others say how somebody is reached from where the server stands."""


def followed(response: Response, servers: UpperServers, tried: int) -> list[Candidate[Target]]:
    """The targets that a server's 3xx names, in its order of preference; `tried`: targets of the request so far.

    Only URIs of known upper servers, by domain or address; they are shown the user part and their own domain.
    """
    found: list[Candidate[Target]] = []
    for contact in contacts_of(response)[: max(0, MOST - tried)]:
        uri = contact.uri
        server = server_of(uri, servers) if uri.is_sip and uri.user is not None else None
        if server is None:
            continue
        named = _at(uri, server.domain)
        target = Target(named, server.name, server=server, called=uri.username)
        key = f"upper:{server.name} {named.decode('utf-8', 'replace')}"
        found.append(Candidate(key, target, True, False, q=preference(contact)))
    return found


def shown(response: Response, servers: UpperServers, ours: frozenset[bytes], domain: bytes) -> list[bytes]:
    """The Contacts of a 3xx for the side that knows all of us by `domain`: users here and behind us by that name, what
    is no SIP URI as it is, and no other place."""
    found = []
    for contact in contacts_of(response):
        uri = contact.uri
        if not uri.is_sip:
            found.append(contact.render())
        elif uri.host.lower() in ours or server_of(uri, servers) is not None:
            q = contact.params.get(b"q")
            found.append(b"<%b>" % _at(uri, domain) + (b";q=" + q if q is not None else b""))
    return found


def contacts_of(response: Response) -> list[NameAddr]:
    """The Contacts of a response; none where they cannot be read."""
    try:
        return [] if response.star_contact else response.contacts
    except ParseError:
        return []


def server_of(uri: Uri, servers: UpperServers) -> UpperServer | None:
    """The upper server that a URI leads to: by its domain, its host, or one of its addresses."""
    host = uri.host.lower()
    return servers.by_domain(host) or servers.by_source(host.strip(b"[]").decode("ascii", "replace"))


def _at(uri: Uri, domain: bytes) -> bytes:
    params = {name: value for name, value in uri.params.items() if name in _KEPT}
    return Uri(uri.scheme, uri.user, None, domain, None, params, None).render()
