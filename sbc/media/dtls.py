"""DTLS-SRTP (RFC 5764): the handshake that agrees on SRTP keys, done by OpenSSL on datagrams handed in and out.

The one who uses an `Association` sends what its methods return and calls `timeout` when `wait` is over. It must feed
datagrams only from where the peer has proven or is plausible to be: a single forged record can end a handshake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from struct import Struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL

from sbc.media.protection import Fingerprint
from sbc.media.sdes import CM_80, GCM_128, GCM_256, Suite

#: Bytes of a datagram: what passes every path that media passes.
MTU = 1200
#: Bytes taken from OpenSSL at once; the longest flight, with an RSA-4096 certificate, has some 2 KiB.
MAX_FLIGHT = 65_536
#: Handshakes begun anew because junk ended the one before; then the association has failed.
MAX_ATTEMPTS = 16
#: Days that the certificate of a process is valid.
VALID_DAYS = 365

_RECORD = Struct("!BHHHIH")
_CHANGE_CIPHER, _HANDSHAKE, _LOWEST, _HIGHEST = 20, 22, 20, 25
#: DTLS 1.0, which every first message bears, and 1.2.
_VERSIONS = frozenset({0xFEFF, 0xFEFD})
_NO_HANDSHAKE = "DTLS: no handshake"
_LABEL = b"EXTRACTOR-dtls_srtp"
_PROFILES = {
    b"SRTP_AEAD_AES_256_GCM": GCM_256,
    b"SRTP_AEAD_AES_128_GCM": GCM_128,
    b"SRTP_AES128_CM_SHA1_80": CM_80,
}
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    b"ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
)
_HASHES: dict[bytes, hashes.HashAlgorithm] = {
    b"sha-1": hashes.SHA1(),  # noqa: S303 - see `protection`
    b"sha-256": hashes.SHA256(),
    b"sha-384": hashes.SHA384(),
    b"sha-512": hashes.SHA512(),
}


class Identity:
    """The certificate of a relay, made when it is first needed: an elliptic curve key, since some peers take no RSA.
    With the `memory` of another one it is that one."""

    def __init__(self, memory: bytes = b"") -> None:
        key, certificate = _recalled(memory) if memory else _made(datetime.now(UTC))
        self._key, self._certificate = key, certificate
        self.fingerprint = Fingerprint(b"sha-256", certificate.fingerprint(hashes.SHA256()))
        self.context = SSL.Context(SSL.DTLS_METHOD)
        # Certificates are self-signed: they are judged by their fingerprint once the handshake is done.
        self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)
        self.context.set_cipher_list(_CIPHERS)
        self.context.set_tlsext_use_srtp(b":".join(_PROFILES))

    @property
    def memory(self) -> bytes:
        """Private key and certificate."""
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self._certificate.public_bytes(Encoding.PEM)


def _made(now_at: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "media")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now_at - timedelta(days=1))
        .not_valid_after(now_at + timedelta(days=VALID_DAYS))
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _recalled(memory: bytes) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = load_pem_private_key(memory, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not the key of an identity")
    return key, x509.load_pem_x509_certificate(memory)


@dataclass(frozen=True, slots=True)
class Keys:
    """What a handshake gave: master key and salt of each direction."""

    suite: Suite
    inbound: bytes = field(repr=False)
    outbound: bytes = field(repr=False)


class Association:
    """One handshake, as the client (`active`) or the server. `keys` once it succeeded, `failure` once it cannot any
    more: the peer's certificate has none of `fingerprints`, or there is no SRTP profile in common.

    With `keys` it is one that succeeded in another process: there is nothing left to say.
    """

    def __init__(
        self, identity: Identity, fingerprints: frozenset[Fingerprint], *, active: bool, keys: Keys | None = None
    ) -> None:
        self.fingerprints = fingerprints
        self.active = active
        self.keys = keys
        self.failure = ""
        self.begun = self._elsewhere = keys is not None
        self._identity = identity
        self._attempts = 0
        self._connection = self._connect()

    @property
    def over(self) -> bool:
        """Whether the handshake has ended, well or not."""
        return self.keys is not None or bool(self.failure)

    def begin(self) -> list[bytes]:
        """As the client: the first message, once; as the server nothing."""
        if not self.active or self.begun:
            return []
        self.begun = True
        return self._step()

    def receive(self, datagram: bytes) -> list[bytes]:
        """Take a datagram; what to send. Never raises."""
        if self.failure or self._elsewhere or not _plausible(datagram, encrypted=self.keys is not None):
            return []
        self.begun = True
        self._connection.bio_write(datagram)
        if self.keys is None:
            return self._step()
        try:
            self._connection.recv(MTU)  # the peer did not get our last message, or says goodbye
        except SSL.Error:
            pass
        return self._flight()

    def wait(self) -> float | None:
        """Seconds until `timeout` is due."""
        return None if self.over or not self.begun else self._connection.DTLSv1_get_timeout()

    def timeout(self) -> list[bytes]:
        """Send the last messages again; after a dozen times OpenSSL gives up."""
        if self.over:
            return []
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self.failure = _NO_HANDSHAKE
        return self._flight()

    def _connect(self) -> SSL.Connection:
        connection = SSL.Connection(self._identity.context, None)
        connection.set_ciphertext_mtu(MTU)
        if self.active:
            connection.set_connect_state()
        else:
            connection.set_accept_state()
        self._attempts += 1
        return connection

    def _step(self) -> list[bytes]:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return self._flight()
        except SSL.Error:
            return self._again()
        self._finish()
        return self._flight()

    def _again(self) -> list[bytes]:
        """Somebody broke the handshake: the connection is of no use any more."""
        told = self._flight()
        if self._attempts >= MAX_ATTEMPTS:
            self.failure = _NO_HANDSHAKE
            return told
        self._connection = self._connect()
        return self._step() if self.active else told

    def _finish(self) -> None:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not any(
            certificate.fingerprint(_HASHES[each.hash]) == each.digest for each in self.fingerprints
        ):
            self.failure = "DTLS: the certificate is not the one of the description"
            return
        suite = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if suite is None:
            self.failure = "DTLS: no SRTP profile in common"
            return
        material = self._connection.export_keying_material(_LABEL, 2 * suite.size)
        keys, salts = material[: 2 * suite.key], material[2 * suite.key :]
        client = keys[: suite.key] + salts[: suite.salt]
        server = keys[suite.key :] + salts[suite.salt :]
        self.keys = Keys(suite, server, client) if self.active else Keys(suite, client, server)

    def _flight(self) -> list[bytes]:
        try:
            return _packed(self._connection.bio_read(MAX_FLIGHT))
        except SSL.WantReadError:
            return []


def _packed(stream: bytes) -> list[bytes]:
    """Whole records in datagrams of up to `MTU` bytes: OpenSSL hands out a stream."""
    datagrams: list[bytes] = []
    start = end = 0
    while end + _RECORD.size <= len(stream):
        size = _RECORD.size + int.from_bytes(stream[end + 11 : end + 13], "big")
        if end > start and end + size - start > MTU:
            datagrams.append(stream[start:end])
            start = end
        end += size
    if end > start:
        datagrams.append(stream[start:end])
    return datagrams


def _plausible(datagram: bytes, *, encrypted: bool) -> bool:
    """Whether these are whole DTLS records, and before the keys are known no clear alerts, which anybody can forge."""
    place = 0
    while place < len(datagram):
        if place + _RECORD.size > len(datagram):
            return False
        kind, version, epoch, _, _, size = _RECORD.unpack_from(datagram, place)
        if not _LOWEST <= kind <= _HIGHEST or version not in _VERSIONS:
            return False
        if not encrypted and epoch == 0 and kind not in (_CHANGE_CIPHER, _HANDSHAKE):
            return False
        place += _RECORD.size + size
    return 0 < place == len(datagram)
