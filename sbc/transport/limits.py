"""Every bound of the transports, with unit and reason."""

from dataclasses import dataclass

DATAGRAM_BYTES = 65_535
"""Read size: no UDP payload is longer, so nothing is ever cut short unseen."""

DATAGRAMS_PER_WAKE = 64
"""Datagrams read from one socket before other sockets and timers get their turn."""

RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
"""SO_RCVBUF of UDP sockets: about 1,700 INVITEs, two seconds at 800 calls/s. The kernel's default holds 90."""

CROWDED_SHARE, CLEARED_SHARE = 0.125, 0.0625
"""Share of a UDP socket's receive buffer that waits to be read: from the first on, what strangers sent is dropped
unread until it is below the second. What waits is then some 0.2 s old at most, for whoever is known."""

SHED_PER_WAKE = 1_024
"""Datagrams looked at in one wake while strangers are dropped; dropping costs a hundredth of serving."""

UDP_QUEUE_DATAGRAMS = 4_096
"""Datagrams waiting for a full UDP socket; later ones are dropped, as a network would."""

UDP_FLOWS = 32_768
"""UDP peers remembered per generation and socket (two generations); forgetting one only forgets when it was heard."""

PENDING_CONNECTS = 1_024
"""Outgoing connections being opened at once; more would eat descriptors during an upper server's outage."""

CONNECT_WAITERS = 10_000
"""Requests waiting for one connection to open."""

ALIASES = 16
"""Names of a client certificate for which its connection may be used in the other direction; certificates of servers
have a handful."""

FAILED_DESTINATIONS = 1_024
"""Destinations remembered as just failed."""

STREAM_PATIENCE = 1.5
"""Seconds in which a TCP connection for a request too large for a datagram must be open; below the four seconds of
silence after which the next server is tried."""

STREAMLESS_SECONDS = 300.0
"""How long an address that took no such connection is sent datagrams of any size."""

TURN_SECONDS = 0.02
"""How often those who stand in line for a TLS handshake are looked at, while there are any."""

LINE_SECONDS = 4.0
"""Seconds' worth of handshakes that may stand in line; then no TLS connection is accepted until half of them are
through. The kernel holds `BACKLOG` more and clients repeat their SYN, which spreads a storm better than we could."""

SWEEP_SECONDS = 1.0
"""How often deadlines of streams are looked at; deadlines are kept to this precision."""

LINGER_SECONDS = 5.0
"""How long a connection that we close in an orderly way may take to send the rest; then it is cut."""

DRAIN_SECONDS = 2.0
"""How long a peer whose message was too large may go on sending it before it is cut, so that it hears why."""

STOP_SECONDS = 2.0
"""How long connections may take to close in an orderly way when we stop; then they are cut."""

# Words told to Receiver.refused: why bytes were dropped.
NOT_SIP = "not-sip"
OVERSIZED = "oversized"
BANNED = "banned"
TOO_MANY_FROM_SOURCE = "connections-per-source"
TOO_MANY = "connections"
SLOW = "slow"
SILENT = "silent"
BROKEN_FRAMING = "framing"
BAD_HANDSHAKE = "handshake"
NOT_READING = "not-reading"
OVERLOAD = "overload"
REFUSALS = {
    NOT_SIP: "the bytes do not begin a SIP message (scanner, HTTP or TLS on the wrong port)",
    OVERSIZED: "the message is longer than the limit",
    BANNED: "the source is banned",
    TOO_MANY_FROM_SOURCE: "the source holds as many connections as it may",
    TOO_MANY: "this node holds as many connections as it may",
    SLOW: "a message was begun and not finished in time",
    SILENT: "nothing came in time on a new or idle connection",
    BROKEN_FRAMING: "a stream lost its message borders (missing or wrong Content-Length)",
    BAD_HANDSHAKE: "the TLS, WebSocket or PROXY preamble failed",
    OVERLOAD: "more datagrams came than can be served: those of nobody known are dropped first",
    NOT_READING: "the peer does not read what it is sent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one operator may want to change; times in seconds."""

    message_bytes: int = 65_000
    """Longest message taken, on any transport; a UDP payload hardly fits more."""
    datagram_request: int = 1_300
    """Longest request to a server that goes as a datagram, where it takes TCP too (RFC 3261 18.1.1); 0: any."""
    write_buffer_bytes: int = 1024 * 1024
    """Bytes queued for a stream peer that does not read; then the connection is cut."""
    handshakes: int = 400
    """TLS handshakes begun per second; a core takes 450 with RSA certificates and 900 with ECDSA ones."""
    handshake: float = 10.0
    """A TLS handshake whose turn has come must be done in this time."""
    first_message: float = 20.0
    """A new connection must bring its preambles (PROXY, TLS, WebSocket) and a first message or ping in this time."""
    partial_message: float = 10.0
    """A message once begun must be complete in this time."""
    idle: float = 7_200.0
    """A stream on which nothing at all came for this long is closed; longer than any sensible registration refresh."""
    websocket_ping: float = 30.0
    """A WebSocket that was silent this long is pinged, since browsers cannot; two unanswered pings end it."""
    connect: float = 5.0
    """Opening a connection, TLS included; with a second destination to try inside SIP's 32 s."""
    connect_pause: float = 1.0
    """After a failed connection the same destination fails at once for this long."""
    connections: int = 50_000
    """Stream connections of this node in all: about 1.3 GB of TLS state."""
    connections_per_source: int = 1_000
    """Incoming connections of one IPv4 address or IPv6 /64; an office behind one NAT fits."""
