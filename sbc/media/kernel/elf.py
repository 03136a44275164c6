"""The compiled program out of its object file: ELF as clang writes it for BPF.  [pure]"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct, error, unpack_from

_HEADER = Struct("<4sBBB9xHHIQQQIHHHHHH")
_SECTION = Struct("<IIQQQQIIQQ")
_SYMBOL = Struct("<IBBHQQ")
_RELOCATION = Struct("<QQ")
_MACHINE_BPF = 247
_SYMBOLS, _RELOCATIONS = 2, 9  # SHT_SYMTAB, SHT_REL
_LOAD_64, _MAP_BY_DESCRIPTOR = 0x18, 1  # BPF_LD_IMM64, BPF_PSEUDO_MAP_FD
_INSTRUCTION = 8


class ObjectError(Exception):
    """This is no object file of a BPF program for this machine."""


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions, and at which of their offsets (bytes) which map is referred to; its license; what it was built from
    (SHA-256 of the source, in hex)."""

    code: bytes
    references: tuple[tuple[int, str], ...]
    license: bytes
    built_from: str

    def linked(self, maps: Mapping[str, int]) -> bytes:
        """The instructions, referring to maps by these descriptors."""
        code = bytearray(self.code)
        for offset, name in self.references:
            if code[offset] != _LOAD_64:
                raise ObjectError(f"no load of {name} at {offset}")
            code[offset + 1] = (code[offset + 1] & 0x0F) | (_MAP_BY_DESCRIPTOR << 4)
            code[offset + 4 : offset + 8] = maps[name].to_bytes(4, sys.byteorder)
            code[offset + 12 : offset + 16] = bytes(4)
        return bytes(code)


def read(data: bytes, section: str = "tc") -> Program:
    """The program in this section. Raises `ObjectError`."""
    if sys.byteorder != "little":
        raise ObjectError("the program is compiled for little-endian machines")
    try:
        return _read(data, section)
    except (error, IndexError, KeyError, ValueError, OverflowError) as problem:
        raise ObjectError(f"broken object file: {problem}") from problem


def _read(data: bytes, wanted: str) -> Program:
    magic, bits, order, _, _, machine, *_, table, _, _, _, _, size, count, names_at = _HEADER.unpack_from(data)
    if magic != b"\x7fELF" or (bits, order, machine) != (2, 1, _MACHINE_BPF):
        raise ObjectError("no object file for BPF")
    sections = [_SECTION.unpack_from(data, table + size * number) for number in range(count)]
    bodies = [data[each[4] : each[4] + each[5]] for each in sections]
    named = {_text(bodies[names_at], each[0]): number for number, each in enumerate(sections)}
    references: list[tuple[int, str]] = []
    for number, each in enumerate(sections):
        if each[1] == _RELOCATIONS and each[7] == named[wanted]:
            references += _references(bodies[number], bodies[each[6]], bodies[sections[each[6]][6]])
    code = bodies[named[wanted]]
    if len(code) % _INSTRUCTION or any(offset + 2 * _INSTRUCTION > len(code) for offset, _ in references):
        raise ObjectError("instructions are cut off")
    return Program(code, tuple(references), bodies[named["license"]].rstrip(b"\0"), _text(bodies[named["source"]], 0))


def _references(relocations: bytes, symbols: bytes, names: bytes) -> Iterator[tuple[int, str]]:
    for offset, info in _RELOCATION.iter_unpack(relocations):
        name, *_ = _SYMBOL.unpack_from(symbols, (info >> 32) * _SYMBOL.size)
        yield offset, _text(names, name)


def _text(table: bytes, at: int) -> str:
    (text,) = unpack_from(f"{table.index(0, at) - at}s", table, at)
    return str(text, "ascii")
