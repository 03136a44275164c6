"""The TLS side of the emulated services.

In: certificate, key and CA files, a factory of plain connections. Out: the same factory behind TLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from sbc.lab.loop import Reactor

NO_OVERLAP = SSL.NO_OVERLAPPING_PROTOCOLS


@implementer(IOpenSSLContextFactory)
class ServerTls:
    """A server that asks for a client certificate of the laboratory's CA without insisting on one, and picks the first
    of `protocols` the client offers by ALPN (none in common: no ALPN answer)."""

    def __init__(self, certificate: Path, key: Path, ca_file: Path, protocols: Sequence[bytes]) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.load_verify_locations(str(ca_file))
        context.set_verify(SSL.VERIFY_PEER)

        def choose(_connection: SSL.Connection, offered: list[bytes]) -> object:
            return next((name for name in protocols if name in offered), NO_OVERLAP)

        context.set_alpn_select_callback(choose)  # type: ignore[arg-type]
        self._context = context

    def getContext(self) -> SSL.Context:
        """The one context of this server."""
        return self._context


def behind_tls(reactor: Reactor, tls: ServerTls, factory: Factory) -> TLSMemoryBIOFactory:
    """`factory` for ``reactor.listenTCP``, serving TLS.

    Not ``reactor.listenSSL``: that one gathers small writes by the clock of the global reactor, whichever reactor it is
    called on."""
    wrap: Any = TLSMemoryBIOFactory
    wrapped: TLSMemoryBIOFactory = wrap(tls, False, factory, clock=reactor)
    return wrapped
