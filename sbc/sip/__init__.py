"""The SIP language: bytes in, lazy messages out, and back.

In: one whole message as bytes (or, through `framing`, a stream of them). Out: `Request` and `Response` objects that
keep every header line as it came, typed values parsed on first use, `ParseError` with the status the sender deserves.

Read `message` first, then `headers` (what can be asked of and done to header lines), `values` and `uri` (what stands
in them), `build` (messages of our own), `check` (what a request must fulfil before anybody routes it), `digest`,
`framing`, and `limits` for the named ceilings. `names` and `scan` are the ground floor.
Nothing here knows sockets, clocks or randomness: tags, branches and nonces are handed in.
"""

from sbc.sip.errors import LocalError, ParseError, RemoteError
from sbc.sip.message import Message, Request, Response, parse
from sbc.sip.uri import Uri, same
from sbc.sip.values import CSeq, NameAddr, Via, split_commas

__all__ = [
    "CSeq",
    "LocalError",
    "Message",
    "NameAddr",
    "ParseError",
    "RemoteError",
    "Request",
    "Response",
    "Uri",
    "Via",
    "parse",
    "same",
    "split_commas",
]
