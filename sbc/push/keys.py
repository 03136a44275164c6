"""What operators get from Apple and Google, read from the bytes of its file.  [pure]

Each reader raises BadKey with one sentence for the operator.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID
from google.auth import crypt
from google.auth.crypt import Signer

from sbc.push.jose import base64url


class BadKey(ValueError):  # noqa: N818 - the trade's word
    """A key, certificate or service account that cannot be used."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """An APNs authentication key (.p8): good for all apps of its team, in both environments."""

    team_id: str
    key_id: str
    key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """An APNs certificate with its key. ``bundle_id`` is what it is for, ``expires_at`` UTC epoch seconds."""

    bundle_id: str
    expires_at: float
    sandbox_only: bool
    pem: bytes = field(repr=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A Google service account: signs for access tokens of ``project_id`` at ``token_uri``."""

    project_id: str
    email: str
    token_uri: str
    signer: Signer = field(repr=False, compare=False)
    fingerprint: str


@dataclass(frozen=True, slots=True)
class VapidKey:
    """Our key toward Web Push services; ``public`` is what browsers subscribe with (base64url)."""

    key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)
    public: str
    fingerprint: str


Credential = TokenKey | ClientCertificate | ServiceAccount | VapidKey


def fingerprint(*parts: bytes) -> str:
    """Tells two credentials apart without showing either."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def token_key(content: bytes, team_id: str, key_id: str) -> TokenKey:
    """An Apple .p8 file."""
    if not team_id:
        raise BadKey("needs the team id (team_id)")
    if not key_id:
        raise BadKey("needs the key id: name the file AuthKey_KEYID.p8 or set key_id")
    key = _elliptic(content, "")
    return TokenKey(team_id, key_id, key, fingerprint(content, team_id.encode(), key_id.encode()))


def vapid_key(content: bytes, password: str = "") -> VapidKey:
    """An EC key on P-256 as PEM (or the PEM of ``openssl ecparam -genkey``)."""
    key = _elliptic(content, password)
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return VapidKey(key, base64url(point).decode(), fingerprint(content))


def _elliptic(content: bytes, password: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(content, password.encode() or None)
    except (ValueError, TypeError) as error:
        raise BadKey(f"is not a PEM private key ({_brief(error)})") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise BadKey("is not an elliptic-curve key on P-256")
    return key


def client_certificate(content: bytes, password: str) -> ClientCertificate:
    """A PKCS#12 file, or a PEM file with the certificate and its private key."""
    if b"-----BEGIN" in content:
        key, certificates = _from_pem(content, password)
    else:
        key, certificates = _from_pkcs12(content, password)
    certificate = certificates[0]
    if key.public_key() != certificate.public_key():
        raise BadKey("holds a certificate and a private key that do not belong together")
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)
    return ClientCertificate(
        _bundle_id(certificate),
        certificate.not_valid_after_utc.timestamp(),
        "Development" in _common_name(certificate),
        pem,
        fingerprint(pem),
    )


def _from_pkcs12(content: bytes, password: str) -> tuple[Any, list[x509.Certificate]]:
    try:
        key, certificate, more = pkcs12.load_key_and_certificates(content, password.encode() or None)
    except ValueError as error:
        text = str(error)
        if "password" in text.lower() or "mac" in text.lower():
            raise BadKey("cannot be opened: the password is wrong or missing") from None
        raise BadKey(f"is not a PKCS#12 file ({_brief(error)})") from None
    if key is None or certificate is None:
        raise BadKey("lacks the private key" if key is None else "lacks the certificate")
    return key, [certificate, *more]


def _from_pem(content: bytes, password: str) -> tuple[Any, list[x509.Certificate]]:
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise BadKey(f"lacks a readable certificate ({_brief(error)})") from None
    begin = content.find(b"-----BEGIN", 0)
    while begin >= 0:
        if b"PRIVATE KEY-----" in content[begin : content.find(b"\n", begin)]:
            break
        begin = content.find(b"-----BEGIN", begin + 1)
    if begin < 0:
        raise BadKey("lacks the private key")
    try:
        return serialization.load_pem_private_key(content[begin:], password.encode() or None), certificates
    except TypeError:
        # cryptography says TypeError both for a password that is missing and for one that is not needed.
        if password:
            return _from_pem(content, "")
        raise BadKey("cannot be opened: its private key needs a password") from None
    except ValueError as error:
        raise BadKey(f"has a private key that cannot be read ({_brief(error)})") from None


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _bundle_id(certificate: x509.Certificate) -> str:
    """The app: the subject's UID, else what stands behind the colon of the common name; without ``.voip``."""
    names = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    name = str(names[0].value) if names else _common_name(certificate).rpartition(": ")[2]
    return name.removesuffix(".voip")


def service_account(content: bytes) -> ServiceAccount:
    """Google's service-account JSON."""
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        if content.strip().startswith(b"AAAA") and len(content) < 400:
            raise BadKey(
                "is a server key of the legacy FCM protocol, which Google ended in July 2024: "
                "create a service account and save its JSON key"
            ) from None
        raise BadKey(f"is not JSON ({_brief(error)})") from None
    if not isinstance(fields, dict):
        raise BadKey("is not a service account")
    if "project_info" in fields:
        raise BadKey("is the app's google-services.json, not a service account's key")
    for name in ("project_id", "client_email", "private_key"):
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise BadKey(f"is not a service account: {name} is missing")
    token_uri = fields.get("token_uri") or "https://oauth2.googleapis.com/token"
    if not isinstance(token_uri, str) or not token_uri.startswith(("https://", "http://")):
        raise BadKey("has a token_uri that is not an address")
    try:
        signer = crypt.RSASigner.from_service_account_info(fields)  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - google-auth lets any error of its key parsers through
        raise BadKey(f"has a private_key that cannot be read ({_brief(error)})") from None
    return ServiceAccount(fields["project_id"], fields["client_email"], token_uri, signer, fingerprint(content))


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
