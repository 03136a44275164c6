"""Bencoding: integers, byte strings, lists, dictionaries.  [pure]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Lists and dictionaries inside each other.
MAX_DEPTH = 16


def encode(value: object) -> bytes:
    """The bytes of a value; texts are UTF-8, keys of dictionaries are sorted. Raises `TypeError` for other kinds."""
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, str):
        return encode(value.encode("utf-8"))
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, Mapping):
        return b"d%se" % b"".join(encode(key) + encode(value[key]) for key in sorted(value))
    if isinstance(value, Sequence):
        return b"l%se" % b"".join(map(encode, value))
    raise TypeError(f"{type(value).__name__} cannot be bencoded")


def decode(data: bytes) -> Any:
    """The value; keys of dictionaries are text, all strings else bytes. Raises `ValueError` for anything broken."""
    value, end = _decode(data, 0, MAX_DEPTH)
    if end != len(data):
        raise ValueError("more than one value")
    return value


def _decode(data: bytes, start: int, depth: int) -> tuple[Any, int]:
    kind = data[start : start + 1]
    if kind == b"i":
        end = data.index(b"e", start)
        return int(data[start + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        if not depth:
            raise ValueError("nested too deep")
        values, start = [], start + 1
        while data[start : start + 1] != b"e":
            value, start = _decode(data, start, depth - 1)
            values.append(value)
        return (values if kind == b"l" else _dictionary(values)), start + 1
    colon = data.index(b":", start)
    digits = data[start:colon]
    if not digits.isdigit() or len(digits) > 9:
        raise ValueError("no length")
    end = colon + 1 + int(digits)
    if end > len(data):
        raise ValueError("cut off")
    return data[colon + 1 : end], end


def _dictionary(values: list[Any]) -> dict[str, Any]:
    if len(values) % 2 or not all(isinstance(key, bytes) for key in values[::2]):
        raise ValueError("no dictionary")
    return {key.decode("utf-8", "replace"): value for key, value in zip(values[::2], values[1::2], strict=True)}
