"""Settings of the admin interface: section ``[admin]``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from sbc.settings import Address, FilePath, Flag, HostPort, List, Text, section, setting

LOOPBACK: Final = Address("127.0.0.1", 8080)
"""Off the network unless the operator says otherwise."""


@section("admin", doc="Web page, HTTP API, metrics and health")
@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The `[admin]` section."""

    listen: Address = setting(  # noqa: RUF009  a declaration, not a shared value
        LOOPBACK, HostPort(8080), doc="where the web page and the API are served", restart=True
    )
    certificate: str = setting("", FilePath(), doc="PEM file with the certificate chain: serve HTTPS", restart=True)
    key: str = setting("", FilePath(), doc="PEM file with the private key of the certificate", restart=True)
    plain: bool = setting(
        False, Flag(), doc="allow HTTP without TLS off loopback, as behind a proxy that does TLS", restart=True
    )
    key_on_loopback: bool = setting(
        False, Flag(), doc="ask for an API key on the loopback address too, as behind a proxy on the same host"
    )
    api_id: str = setting("", Text(maximum=64), doc="name that belongs to api_key, the authid of /mvapireq/")
    api_key: str = setting(
        "",
        Text(maximum=255),
        doc="key of the compatible API /mvapireq/, besides API keys; empty: none",
        secret=True,
    )
    hosts: tuple[str, ...] = setting(
        (), List(Text(required=True)), doc="host names under which the page is reached besides addresses and localhost"
    )

    @property
    def loopback(self) -> bool:
        """Whether only this host can reach the interface."""
        host = self.listen.host
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def problems(self) -> Iterable[tuple[str, str]]:
        """What does not fit together."""
        if bool(self.certificate) != bool(self.key):
            yield ("key" if self.certificate else "certificate"), "certificate and key belong together"
        elif not self.loopback and not self.certificate and not self.plain:
            yield "listen", "is not a loopback address: give certificate and key, or plain = on behind a proxy with TLS"
