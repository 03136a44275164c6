"""REGISTERs as the registrar stores them, and what a reader finds of them: the words of this room's tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sbc.store import queries
from sbc.store.operations import SaveRegistration
from sbc.store.records import Binding

from .conftest import Database


@dataclass(frozen=True)
class Given:
    prid: str
    provider: str = "apns"
    param: str = "com.example.phone"
    environment: str = "production"
    kind: str = "voip"


def phone(identity: str = "phone", **changes: Any) -> Binding:
    return Binding(**{"identity": identity, "contact": f"sip:{identity}@198.51.100.7", "expires_at": 700.0, **changes})


def register(username: str = "alice", **changes: Any) -> SaveRegistration:
    given: dict[str, Any] = {
        "username": username,
        "domain": "pbx.example.com",
        "upper": "pbx",
        "at": 100.0,
        "binding": phone(),
        "upper_contact": f"sip:op-{username}@203.0.113.5:5060",
        "upper_call_id": "first@sbc",
        "upper_expires_at": 3700.0,
        "next_at": 3400.0,
    }
    return SaveRegistration(**{**given, **changes})


def alice(database: Database) -> Any:
    return database.read(queries.subscriber, "alice", "pbx.example.com")
