"""Signed tokens (JWT, ES256) for APNs and for VAPID.  [pure]"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256


def base64url(raw: bytes) -> bytes:
    """URL-safe base64 without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=")


def from_base64url(text: str) -> bytes:
    """The reverse, with or without padding. ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign_es256(key: ec.EllipticCurvePrivateKey, header: Mapping[str, str], claims: Mapping[str, object]) -> bytes:
    """A JWT signed with *key* on P-256 (RFC 7515, RFC 7518 section 3.4)."""
    parts = (json.dumps({"alg": "ES256", **header}), json.dumps(claims))
    signed = b".".join(base64url(part.encode()) for part in parts)
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
    return signed + b"." + base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
