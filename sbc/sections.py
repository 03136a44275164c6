"""Every section of the configuration, in the order in which `etc/sbc.toml` and the reference page show them."""

from __future__ import annotations

from sbc.admin.settings import AdminSettings
from sbc.media.settings import MediaSettings
from sbc.observe.settings import LogSettings
from sbc.proxy.settings import ProxySettings
from sbc.push.settings import (
    ApnsSettings,
    AppSettings,
    FcmSettings,
    PushSettings,
    RemoveOnSettings,
    WebPushSettings,
)
from sbc.registrar.settings import RegistrarSettings
from sbc.security.settings import SecuritySettings
from sbc.settings import NodeSettings
from sbc.store.settings import DatabaseSettings
from sbc.transport.settings import ListenSettings, TransportSettings
from sbc.upper.settings import RouteSettings, RoutingSettings, UpperSettings

SECTIONS: tuple[type, ...] = (
    NodeSettings,
    ListenSettings,
    TransportSettings,
    UpperSettings,
    RoutingSettings,
    RouteSettings,
    RegistrarSettings,
    ProxySettings,
    PushSettings,
    RemoveOnSettings,
    AppSettings,
    ApnsSettings,
    FcmSettings,
    WebPushSettings,
    MediaSettings,
    DatabaseSettings,
    AdminSettings,
    SecuritySettings,
    LogSettings,
)
