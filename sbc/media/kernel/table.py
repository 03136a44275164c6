"""A BPF map as a table of bytes; its calls are prepared once, as they are made for every flow."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from struct import pack, pack_into, unpack_from

from sbc.media.kernel.calls import (
    MAP_DELETE,
    MAP_LOOKUP,
    MAP_LOOKUP_BATCH,
    MAP_TAKE,
    MAP_UPDATE,
    Buffer,
    bpf,
    buffer,
)

#: Entries read with one call.
CHUNK = 4096
_NOT_SUPPORTED = 524  # ENOTSUPP, which errno does not know


class Table:
    """A map behind a descriptor. Names and values are bytes of the map's sizes."""

    def __init__(self, descriptor: int, key_size: int, value_size: int) -> None:
        self.descriptor = descriptor
        self._key_size, self._value_size = key_size, value_size
        self._key, self._value = buffer(bytes(key_size)), buffer(bytes(value_size))
        self._both = self._call(ctypes.addressof(self._value))
        self._key_only = self._call(0)

    def put(self, key: bytes, value: bytes) -> None:
        """Set an entry. Raises `OSError`: the map is full."""
        self._key.raw, self._value.raw = key, value
        bpf(MAP_UPDATE, self._both)

    def get(self, key: bytes) -> bytes | None:
        """An entry, if there is one."""
        return self._read(MAP_LOOKUP, key)

    def take(self, key: bytes) -> bytes | None:
        """Remove an entry, and what it was."""
        try:
            return self._read(MAP_TAKE, key)
        except OSError as problem:  # before Linux 5.14 not for hashes
            if problem.errno not in (errno.EINVAL, _NOT_SUPPORTED):
                raise
        value = self._read(MAP_LOOKUP, key)
        if value is not None:
            bpf(MAP_DELETE, self._key_only)
        return value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries; what changes meanwhile may be missing or come twice."""
        keys, values = (ctypes.create_string_buffer(CHUNK * size) for size in (self._key_size, self._value_size))
        token = ctypes.create_string_buffer(max(8, self._key_size))
        attributes = buffer(bytes(56))
        begun, more = 0, True
        while more:
            addresses = (ctypes.addressof(each) for each in (token, keys, values))
            pack_into("=QQQQIIQQ", attributes, 0, begun, *addresses, CHUNK, self.descriptor, 0, 0)
            begun = ctypes.addressof(token)
            try:
                bpf(MAP_LOOKUP_BATCH, attributes)
            except FileNotFoundError:
                more = False
            (count,) = unpack_from("=I", attributes, 32)
            names, contents = keys.raw, values.raw
            for number in range(count):
                at, value_at = number * self._key_size, number * self._value_size
                yield names[at : at + self._key_size], contents[value_at : value_at + self._value_size]

    def _read(self, command: int, key: bytes) -> bytes | None:
        self._key.raw = key
        try:
            bpf(command, self._both)
        except FileNotFoundError:
            return None
        return self._value.raw

    def _call(self, value: int) -> Buffer:
        return buffer(pack("=IIQQQ", self.descriptor, 0, ctypes.addressof(self._key), value, 0))
