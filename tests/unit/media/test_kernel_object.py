"""The compiled program in the package."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbc.media.kernel.elf import ObjectError, read
from sbc.media.kernel.loading import MAPS, OBJECT

DATA = OBJECT.read_bytes()


def test_it_was_built_from_the_source_beside_it() -> None:
    source = OBJECT.with_suffix(".c").read_bytes()
    assert read(DATA).built_from == sha256(source).hexdigest(), "make bpf"


def test_it_refers_to_its_maps() -> None:
    program = read(DATA)
    assert program.license == b"Apache-2.0"
    assert {name for _, name in program.references} == set(MAPS)
    linked = program.linked({"flows": 17, "lease": 0x01020304})
    assert len(linked) == len(program.code)
    for offset, name in program.references:
        descriptor = {"flows": 17, "lease": 0x01020304}[name]
        assert linked[offset + 1] >> 4 == 1
        assert int.from_bytes(linked[offset + 4 : offset + 8], "little") == descriptor
        assert linked[offset + 12 : offset + 16] == bytes(4)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", DATA[:60], DATA[:500], DATA.replace(b"\xf7\x00", b"\x3e\x00", 1)])
def test_what_is_no_object_file_is_refused(data: bytes) -> None:
    with pytest.raises(ObjectError):
        read(data)


@pytest.mark.parametrize("byte", [0, 2, 0x80, 0xFF])
def test_a_damaged_one_raises_nothing_else(byte: int) -> None:
    """Whichever of its bytes it is."""
    for place in range(len(DATA)):
        with suppress(ObjectError):
            read(DATA[:place] + bytes([byte]) + DATA[place + 1 :])


@given(place=st.integers(0, len(DATA) - 1), byte=st.integers(0, 255))
def test_nor_does_any_damage(place: int, byte: int) -> None:
    with suppress(ObjectError):
        read(DATA[:place] + bytes([byte]) + DATA[place + 1 :])
