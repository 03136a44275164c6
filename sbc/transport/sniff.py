"""Is this SIP at all? Asked of datagrams and frames before anything is parsed, so that scanners cost nothing."""

FIRST_LINE_BYTES = 8_192
"""Longest start line that is looked at; a message with a longer one is not SIP."""


def begins_sip(data: bytes) -> bool:
    """Whether a whole message has a start line of SIP (RFC 3261 7.1, 7.2), of whatever version: 505 is for the parser.

    Leading line ends (7.5) are not accepted here.
    """
    end = data.find(b"\n", 0, FIRST_LINE_BYTES)
    return end > 0 and (data.find(b" SIP/", 0, end) > 0 or data.startswith(b"SIP/"))
