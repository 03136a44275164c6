"""Ceilings of the SIP parser. Each says its unit and why it is where it is.

They bound memory and time per message; everything above is refused (513 or 400), never cut short silently.
"""

from typing import Final

#: Bytes of one whole message. The largest UDP payload there is; streams use the same: no transport is a loophole.
MAX_MESSAGE: Final = 65_535

#: Bytes of a message body. SDP with every codec of a WebRTC client stays below 16 KiB; a datagram holds no more.
MAX_BODY: Final = 65_536

#: Header lines of one message. Real messages have 10 … 40; long service routes reach 100.
MAX_HEADERS: Final = 200

#: Bytes of one header line, folding included. An Identity header with certificates in-line stays below 4 KiB.
MAX_HEADER_LINE: Final = 8_192

#: Via values of one message: Max-Forwards starts at 70, so no honest message has passed more elements.
MAX_VIAS: Final = 70

#: Values of Route, and of Record-Route, in one message.
MAX_ROUTES: Final = 50

#: Contact values in one message; nobody registers more at once, and every one costs an answer line.
MAX_CONTACTS: Final = 50

#: Spellings of header names remembered by the scanner (entries); real traffic has about 300.
MAX_SPELLINGS: Final = 2_048

#: Bytes of a header name that is remembered.
MAX_SPELLING: Final = 64

#: Largest CSeq number plus one (RFC 3261 section 8.1.1.5).
CSEQ_END: Final = 2**31

#: Largest delta-seconds plus one (RFC 3261 section 20.19).
SECONDS_END: Final = 2**32

#: Digits of any number in a header, leading zeros not counted; longer ones overflow every field there is.
MAX_DIGITS: Final = 10

#: Addresses and URIs remembered in parsed form (entries of each): those of calls and registrations under way, and our
#: own routes, which stand in every request inside a dialog. About 2 kB each at most.
MAX_REMEMBERED: Final = 4_096

#: Bytes of a value that is remembered; longer ones are parsed every time.
MAX_REMEMBERED_VALUE: Final = 512
