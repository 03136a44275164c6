"""The admin interface of a node, put together: what `service.py` calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sbc.admin.api import api_routes
from sbc.admin.compatible import compatible_routes
from sbc.admin.pages import page_routes
from sbc.admin.ports import Node
from sbc.admin.queries import stored_keys
from sbc.admin.routes import Router
from sbc.admin.server import AdminService
from sbc.admin.settings import AdminSettings


def admin_service(
    reactor: Any,
    settings: AdminSettings,
    node: Node,
    state: Path,
    version: str,
    *,
    monotonic: Callable[[], float],
    utc: Callable[[], float],
) -> AdminService:
    """The service that serves `node`'s health, metrics, API and pages where `settings` say.

    `state` is the node's state directory, for the key of this host. Start it after the store, stop it before.
    """
    router = Router((*api_routes(node, version), *compatible_routes(node), *page_routes(node, version)))

    return AdminService(
        reactor,
        settings,
        router,
        state,
        monotonic=monotonic,
        utc=utc,
        stored_keys=lambda: node.store.report(stored_keys),
    )
