"""A throw-away certificate authority and all the credentials the emulated services and the product need.

In: a directory. Out: files in it, each made when first asked for, secrets with mode 0600. Everything is valid from an
hour before to thirty days after the making: nothing here may ever be used outside a laboratory.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 30  # days; long enough for any test run, short enough to be useless afterwards
P12_PASSWORD = "lab"  # noqa: S105 - it protects a throw-away key
# Apple's own extensions of a push certificate.
APPLE_SANDBOX = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
APPLE_PRODUCTION = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
APPLE_TOPICS = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Makes one CA and whatever is signed by it.

    `bundle` is the app's bundle id (APNs) and package name (FCM), `team_id` and `key_id` are Apple's ten-character ids,
    `project` is the FCM project. `now_at` (UTC epoch seconds) is the moment everything is made.
    """

    def __init__(
        self,
        directory: Path,
        *,
        now_at: float,
        bundle: str = "com.example.phone",
        team_id: str = "DEF123GHIJ",
        key_id: str = "ABC123DEFG",
        project: str = "example-phone",
    ) -> None:
        self.directory = directory
        self.bundle = bundle
        self.team_id = team_id
        self.key_id = key_id
        self.project = project
        self._now = datetime.datetime.fromtimestamp(now_at, datetime.UTC)
        directory.mkdir(parents=True, exist_ok=True)
        self._made: set[Path] = set()
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Laboratory CA")])
        self._ca = self._certify(self._ca_name, self._ca_key, ca=True)
        self._service_account_key: rsa.RSAPrivateKey | None = None
        self._apns_key: ec.EllipticCurvePrivateKey | None = None
        self._vapid_key: ec.EllipticCurvePrivateKey | None = None
        self.ca_file = self._write("ca.pem", _pem(self._ca))

    # -- servers ------------------------------------------------------------------------------------------------

    def server(self, name: str = "server") -> tuple[Path, Path]:
        """Certificate and key files of a TLS server on 127.0.0.1 … 127.0.0.9, ::1 and localhost."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        if certificate not in self._made:
            private = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
            hosts: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("::1"))]
            hosts += [x509.IPAddress(ipaddress.ip_address(f"127.0.0.{n}")) for n in range(1, 10)]
            extensions: list[tuple[x509.ExtensionType, bool]] = [
                (x509.SubjectAlternativeName(hosts), False),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            ]
            self._write(key.name, _key_pem(private))
            self._write(certificate.name, _pem(self._certify(subject, private, extensions)))
        return certificate, key

    # -- Apple --------------------------------------------------------------------------------------------------

    def apns_certificate(self, name: str = "pushkit") -> tuple[Path, Path]:
        """A client certificate for the bundle as Apple makes them, as ``.p12`` (password `P12_PASSWORD`) and ``.pem``
        (key and certificate in one file). The bundle id is the subject's UID; the topics are in Apple's extension."""
        bundled, pem = self.directory / f"{name}.p12", self.directory / f"{name}.pem"
        if pem not in self._made:
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            common = f"VoIP Services: {self.bundle}"
            subject = x509.Name(
                [
                    x509.NameAttribute(NameOID.USER_ID, self.bundle),
                    x509.NameAttribute(NameOID.COMMON_NAME, common),
                    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, self.team_id),
                    x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                ]
            )
            topics = ((self.bundle, "app"), (f"{self.bundle}.voip", "voip"))
            extensions: list[tuple[x509.ExtensionType, bool]] = [
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True),
                (x509.UnrecognizedExtension(APPLE_SANDBOX, b"\x05\x00"), False),
                (x509.UnrecognizedExtension(APPLE_PRODUCTION, b"\x05\x00"), False),
                (x509.UnrecognizedExtension(APPLE_TOPICS, topics_der(topics)), False),
            ]
            certificate = self._certify(subject, private, extensions)
            lock = serialization.BestAvailableEncryption(P12_PASSWORD.encode())
            store = pkcs12.serialize_key_and_certificates(common.encode(), private, certificate, None, lock)
            self._write(bundled.name, store)
            self._write(pem.name, _key_pem(private) + _pem(certificate))
        return bundled, pem

    def apns_key(self) -> Path:
        """The team's token signing key, named as Apple names the download: ``AuthKey_<key id>.p8``."""
        if self._apns_key is None:
            self._apns_key = ec.generate_private_key(ec.SECP256R1())
            self._write(f"AuthKey_{self.key_id}.p8", _key_pem(self._apns_key))
        return self.directory / f"AuthKey_{self.key_id}.p8"

    def apns_public_key(self) -> ec.EllipticCurvePublicKey:
        """What Apple keeps of the signing key."""
        self.apns_key()
        assert self._apns_key is not None
        return self._apns_key.public_key()

    # -- Google -------------------------------------------------------------------------------------------------

    @property
    def service_account_email(self) -> str:
        """Who the service account is: the issuer of the assertions."""
        return f"push@{self.project}.iam.gserviceaccount.com"

    def service_account(self, token_uri: str, name: str = "fcmkey.json") -> Path:
        """A Google service account whose OAuth endpoint is `token_uri` (the emulator's)."""
        path = self.directory / name
        self.service_account_public_key()
        assert self._service_account_key is not None
        account = {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": "1f" * 20,
            "private_key": _key_pem(self._service_account_key).decode(),
            "client_email": self.service_account_email,
            "client_id": "100000000000000000001",
            "token_uri": token_uri,
        }
        self._write(path.name, json.dumps(account, indent=2).encode())
        return path

    def service_account_public_key(self) -> rsa.RSAPublicKey:
        """What Google keeps of the service account's key."""
        if self._service_account_key is None:
            self._service_account_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._service_account_key.public_key()

    # -- Web Push -----------------------------------------------------------------------------------------------

    def vapid_key(self) -> Path:
        """The application server's key of RFC 8292 (P-256, PEM)."""
        if self._vapid_key is None:
            self._vapid_key = ec.generate_private_key(ec.SECP256R1())
            self._write("vapid.pem", _key_pem(self._vapid_key))
        return self.directory / "vapid.pem"

    def vapid_public_key(self) -> bytes:
        """The uncompressed point (65 bytes) a browser subscribes with."""
        self.vapid_key()
        assert self._vapid_key is not None
        form = serialization.PublicFormat.UncompressedPoint
        return self._vapid_key.public_key().public_bytes(serialization.Encoding.X962, form)

    # -- making -------------------------------------------------------------------------------------------------

    def _certify(
        self,
        subject: x509.Name,
        key: Key,
        extensions: list[tuple[x509.ExtensionType, bool]] | None = None,
        *,
        ca: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(hours=1))
            .not_valid_after(self._now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=ca,
            crl_sign=ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
        for extension, critical in extensions or []:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._ca_key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        self._made.add(path)
        return path


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def topics_der(topics: tuple[tuple[str, str], ...]) -> bytes:
    """Apple's list: SEQUENCE { UTF8String topic, SEQUENCE { UTF8String kind }, … }. Pairs of topic and kind."""
    items = b"".join(_der(0x0C, topic.encode()) + _der(0x30, _der(0x0C, kind.encode())) for topic, kind in topics)
    return _der(0x30, items)


def _der(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes(2, "big").lstrip(b"\x00")
    return bytes((tag, 0x80 | len(length))) + length + content
