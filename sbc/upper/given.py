"""What an upper server's 2xx to a REGISTER gives besides time, to be kept with the registration: pure."""

from __future__ import annotations

from dataclasses import dataclass

from sbc.sip.errors import ParseError
from sbc.sip.message import Response
from sbc.sip.values import NameAddr

MAX_GIVEN = 4_096
"""Characters kept of each: a row of the database is no place for more, and no server means more."""

GRUUS = (b"pub-gruu", b"temp-gruu")
"""Contact parameters of RFC 5627."""


@dataclass(frozen=True, slots=True)
class Given:
    """As text: the Service-Route (RFC 3608) and P-Associated-URI (RFC 7315) values in order, separated by commas; the
    GRUUs of our Contact (RFC 5627) as parameters behind it, `;pub-gruu="…"`."""

    service_route: str = ""
    associated: str = ""
    gruus: str = ""


def given(response: Response, contact: bytes) -> Given:
    """What this 2xx gives to our Contact URI; what cannot be read is left out."""
    return Given(
        _kept(b", ".join(service_route(response))),
        _kept(b", ".join(response.each(b"p-associated-uri"))),
        _kept(_gruus(response, contact)),
    )


def service_route(response: Response) -> tuple[bytes, ...]:
    """The Service-Route values of a 2xx, in order; none where one of them is no address."""
    found = []
    for value in response.each(b"service-route"):
        try:
            NameAddr.parse(value)
        except ParseError:
            return ()
        found.append(value)
    return tuple(found)


def _gruus(response: Response, contact: bytes) -> bytes:
    user = contact.partition(b":")[2].partition(b"@")[0]
    try:
        shown = next((each for each in response.contacts if each.uri.user == user), None)
    except ParseError:
        return b""
    if shown is None:
        return b""
    return b"".join(b";%b=%b" % (name, value) for name in GRUUS if (value := shown.params.get(name)))


def _kept(value: bytes) -> str:
    """A part of an address, or of a list of them, is worse than none."""
    return value.decode("utf-8", "replace") if len(value) <= MAX_GIVEN else ""
