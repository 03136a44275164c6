"""Who a caller is said to be, where a rule gives it another name (`rewrite_caller`): pure.

From is not all that names the caller: trunks bill and show the P-Asserted-Identity (RFC 3325), and older ones the
Remote-Party-ID. Of these headers each address with the caller's own name gets the new one; another name stays, for it
says something else than From. Diversion and History-Info name who has forwarded a call, not who makes it: they stay.
"""

from __future__ import annotations

from sbc.sip.errors import ParseError
from sbc.sip.message import Request
from sbc.sip.uri import Uri, escape_user
from sbc.sip.values import NameAddr

IDENTITIES = (b"p-asserted-identity", b"p-preferred-identity", b"remote-party-id")


def called_by(value: bytes, user: str) -> bytes:
    """A From value with another user part; a URI that is no SIP URI stays."""
    address = NameAddr.parse(value)
    return address.replace(uri=address.uri.replace(user=escape_user(user))).render() if address.uri.is_sip else value


def identified(request: Request, before: str, user: str) -> None:
    """Where the identity headers of a request name `before`, in a sip, sips or tel URI, they name `user` from now on.

    A tel URI that cannot (its new name is no number) is left out, for the old number is not to be told.
    """
    for name in IDENTITIES:
        if request.has(name):
            named = (_renamed(value, before.partition(";")[0], user) for value in request.each(name))
            request.replace(name, [value for value in named if value])


def name_of(value: bytes) -> str:
    """The user name in a From value."""
    return NameAddr.parse(value).uri.username


def _renamed(value: bytes, before: str, user: str) -> bytes:
    try:
        address = NameAddr.parse(value)
    except ParseError:
        return value
    uri = address.uri
    telephone = uri.scheme == b"tel"
    if not (uri.is_sip or telephone) or uri.user is None or _plain(uri) != before:
        return value
    if telephone and not user.removeprefix("+").isdigit():
        return b""
    return address.replace(uri=uri.replace(user=escape_user(user))).render()


def _plain(uri: Uri) -> str:
    """The name without its parameters, a number without the signs that only please the eye (RFC 3966 section 5.1.1)."""
    name = uri.username.partition(";")[0]
    return name.translate(_VISUAL) if uri.scheme == b"tel" else name


_VISUAL = dict.fromkeys(map(ord, "-.()"))
