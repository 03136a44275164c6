"""Secrets at rest: the key file, and the sealing of columns with it."""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sbc.sip.errors import LocalError

KEY_BYTES = 32  # AES-256
NONCE_BYTES = 12  # NIST SP 800-38D 8.2: 96 bits
VERSION = b"\x01"  # first byte of everything sealed, so that a later form can be told apart


class SecretError(LocalError):
    """The key file or something sealed with it cannot be used; the text says which and what to do."""


class Secret:
    """Seals and opens column values with AES-256-GCM.

    The nonce is made of the clear text by a keyed hash, as in RFC 8452 and 5297: no counter to lose, no random number
    to repeat, and writing one value twice gives the same bytes. `purpose` ("users.ha1") is authenticated: a value
    copied into another column does not open.
    """

    __slots__ = ("_cipher", "_nonce_key")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SecretError(f"a secret key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(hmac.digest(key, b"sbc column encryption", "sha256"))
        self._nonce_key = hmac.digest(key, b"sbc column nonces", "sha256")

    @classmethod
    def from_file(cls, path: Path) -> "Secret":
        """The secret of a key file, made with mode 0600 when absent; refused when others could read it."""
        try:
            return cls(_read(path))
        except FileNotFoundError:
            return cls(_make(path))

    def seal(self, clear: str, purpose: str) -> bytes:
        """The encrypted form of a text."""
        raw, context = clear.encode(), purpose.encode()
        nonce = hmac.digest(self._nonce_key, context + b"\0" + raw, "sha256")[:NONCE_BYTES]
        return VERSION + nonce + self._cipher.encrypt(nonce, raw, context)

    def open(self, sealed: bytes, purpose: str) -> str:
        """The text again; SecretError when it was sealed with another key, for another purpose, or changed."""
        if sealed[:1] != VERSION:
            raise SecretError(f"{purpose}: not a sealed value of a known version")
        try:
            nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
            return self._cipher.decrypt(nonce, rest, purpose.encode()).decode()
        except (InvalidTag, ValueError):
            raise SecretError(f"{purpose}: sealed with another key: is this the secret.key of this database?") from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another use of the same key file (opaque contacts, tokens of the web page)."""
        return hmac.digest(self._nonce_key, b"derive\0" + purpose.encode(), "sha256")


def prid_hash(prid: str) -> str:
    """What a push token is looked up by: hex SHA-256 of its clear text."""
    return hashlib.sha256(prid.encode()).hexdigest()


def require_private(path: Path) -> None:
    """Refuse a file with secrets that group or world may read. Raises SecretError; FileNotFoundError when absent."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SecretError(f"{path} can be used by others (mode {mode:04o}): chmod 600 {path}")


def _read(path: Path) -> bytes:
    require_private(path)
    try:
        return bytes.fromhex(path.read_text("ascii").strip())
    except ValueError:
        raise SecretError(f"{path} holds no key: restore it, or every encrypted column is lost") from None


def _make(path: Path) -> bytes:
    """Write a new key, durable before it is used; when another process was quicker, its key is the key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_bytes(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike rename, this never replaces the key of somebody quicker
        except FileExistsError:
            return _read(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return key
    finally:
        draft.unlink()
