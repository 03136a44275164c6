"""Refusals of the upper server that tell of somebody who guesses names or passwords: pure."""

from __future__ import annotations

from sbc.sip.message import Response

WRONG_CREDENTIALS, UNKNOWN_USER = "wrong-credentials", "unknown-user"
"""Words of `security.bans.OFFENCES`."""


def guess(response: Response, *, credentials: bool) -> str | None:
    """What a refused REGISTER is held to be; `credentials`: its sender had shown some.

    401 and 407 are no offence: every registration begins with one, and a stale nonce is answered so. A 403 without
    credentials says only that the server wants nobody from here.
    """
    if response.status == 403 and credentials:
        return WRONG_CREDENTIALS
    return UNKNOWN_USER if response.status == 404 else None
