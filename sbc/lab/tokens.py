"""Signed JSON tokens (RFC 7519) as Apple, Google and Web Push services check them. Pure.

In: the compact form, a public key. Out: header and claims, or `TokenError` which says why.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

MAX_TOKEN = 8192  # bytes; provider tokens are a few hundred


class TokenError(Exception):
    """Not a token, or not signed by that key."""


def peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims without checking the signature: to find out which key to check it with."""
    if len(token) > MAX_TOKEN:
        raise TokenError("too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenError("not three parts")
    try:
        header, claims = (json.loads(unbase64(part)) for part in parts[:2])
    except ValueError as error:
        raise TokenError("not JSON in base64url") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise TokenError("header or claims are no objects")
    return header, claims


def verify(token: str, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> dict[str, Any]:
    """The claims, when `key` signed them: ES256 by an elliptic curve key, RS256 by an RSA key (RFC 7518 section 3)."""
    header, claims = peek(token)
    signed, _, tail = token.rpartition(".")
    try:
        signature = unbase64(tail)
    except ValueError as error:
        raise TokenError("signature is not base64url") from error
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _expect(header, "RS256")
            key.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        else:
            _expect(header, "ES256")
            if len(signature) != 64:
                raise TokenError("an ES256 signature has 64 bytes")
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            key.verify(encode_dss_signature(r, s), signed.encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise TokenError("signed by another key") from error
    return claims


def unbase64(text: str) -> bytes:
    """base64url without padding (RFC 7515 section 2). ValueError when it is not."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _expect(header: dict[str, Any], algorithm: str) -> None:
    if header.get("alg") != algorithm:
        raise TokenError(f"alg is not {algorithm}")
