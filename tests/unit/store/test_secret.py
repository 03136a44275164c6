"""The key file and what is sealed with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbc.store import Secret, SecretError
from sbc.store.secret import prid_hash, require_private


def test_the_key_file_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "secret.key"
    sealed = Secret.from_file(path).seal("hello", "users.ha1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["secret.key"]
    assert Secret.from_file(path).open(sealed, "users.ha1") == "hello"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o700 | 0o007])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret.key"
    Secret.from_file(path)
    path.chmod(mode)
    with pytest.raises(SecretError, match="chmod 600"):
        Secret.from_file(path)
    with pytest.raises(SecretError):
        require_private(path)


@pytest.mark.parametrize("content", ["", "not hex", "00" * 31, "00" * 33])
def test_a_damaged_key_is_refused_and_never_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SecretError):
        Secret.from_file(path)
    assert path.read_text() == content


def test_what_was_sealed_opens_only_with_its_key_for_its_purpose_and_unchanged() -> None:
    secret, other = Secret(b"a" * 32), Secret(b"b" * 32)
    sealed = secret.seal("geheim-ü", "users.ha1")
    assert secret.open(sealed, "users.ha1") == "geheim-ü"
    assert secret.seal("geheim-ü", "users.ha1") == sealed
    assert secret.seal("geheim-ü", "push_tokens.prid")[1:13] != sealed[1:13]
    for wrong in (
        lambda: other.open(sealed, "users.ha1"),
        lambda: secret.open(sealed, "push_tokens.prid"),
        lambda: secret.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "users.ha1"),
        lambda: secret.open(sealed[:5], "users.ha1"),
        lambda: secret.open(b"", "users.ha1"),
        lambda: secret.open(b"\x07" + sealed[1:], "users.ha1"),
    ):
        with pytest.raises(SecretError):
            wrong()


def test_derived_keys_differ_by_purpose() -> None:
    secret = Secret(b"a" * 32)
    assert len(secret.derive("contacts")) == 32
    assert secret.derive("contacts") != secret.derive("web")


def test_the_hash_of_a_token_is_hex_sha256() -> None:
    assert prid_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
