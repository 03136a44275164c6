"""Streams of SRTP that another process goes on with."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sbc.media.indexes import MAX_PAGES, MAX_SOURCES, SIZE, Book, Page, estimate
from sbc.media.rtp import HEADER
from sbc.media.sdes import CM_80, GCM_128, SUITES, Suite
from sbc.media.share import Share
from sbc.media.srtp import MAX_CATCH_UP, Opener, Refused, Sealer

Cipher = TypeVar("Cipher", Sealer, Opener)
SUITE_NAMES = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.decode())
REPORT = b"\x81\xc9\x00\x07" + b"\x00\x00\x00\x01" * 7


def packet(index: int, content: bytes = b"payload", source: int = 1) -> bytes:
    return HEADER.pack(0x80, 0, index & 0xFFFF, index * 160 & 0xFFFFFFFF, source) + content


class Memory:
    """What outlives the processes."""

    def __init__(self) -> None:
        self.raw = bytearray(SIZE)
        self.book = Book(memoryview(self.raw), os.urandom)

    def restart(self) -> None:
        self.book = Book(memoryview(self.raw), os.urandom)

    def again(self, cipher: Cipher) -> Cipher:
        """The same one in the process after."""
        page = self.book.find(cipher.page.number, cipher.page.tag)
        assert page is not None
        return type(cipher)(cipher.suite, cipher.key, page)


@pytest.fixture(scope="module")
def memory() -> Memory:
    return Memory()


def pair(suite: Suite, key: bytes, memory: Memory) -> tuple[Sealer, Opener]:
    return Sealer(suite, key, memory.book.take()), Opener(suite, key, memory.book.take())


def restarted(sealer: Sealer, opener: Opener, memory: Memory) -> tuple[Sealer, Opener]:
    memory.restart()
    return memory.again(sealer), memory.again(opener)


@SUITE_NAMES
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_both_go_on_after_any_number_of_turns(suite: Suite, turns: int, memory: Memory) -> None:
    key = os.urandom(suite.size)
    phone_sealer, phone_opener = Sealer(suite, key), Opener(suite, key)
    sealer, opener = pair(suite, key, memory)
    last = turns * 65_536 + 70
    for index in [*range(60_000, last, 30_000), last]:
        assert opener.rtp(phone_sealer.rtp(packet(index))) == packet(index)
        assert phone_opener.rtp(sealer.rtp(packet(index))) == packet(index)
    sealer, opener = restarted(sealer, opener, memory)
    for index in range(last + 9, last + 12):
        assert opener.rtp(phone_sealer.rtp(packet(index))) == packet(index)
        assert phone_opener.rtp(sealer.rtp(packet(index))) == packet(index)


@SUITE_NAMES
def test_what_was_opened_before_is_not_opened_again(suite: Suite, memory: Memory) -> None:
    key = os.urandom(suite.size)
    phone = Sealer(suite, key)
    _, opener = pair(suite, key, memory)
    told = [phone.rtp(packet(index)) for index in range(65_400, 65_700)]
    reported = [phone.rtcp(REPORT) for _ in range(5)]
    for each in told:
        opener.rtp(each)
    for each in reported:
        opener.rtcp(each)
    memory.restart()
    opener = memory.again(opener)
    for each in told:
        with pytest.raises(Refused):
            opener.rtp(each)
    for each in reported:
        with pytest.raises(Refused):
            opener.rtcp(each)
    assert opener.rtp(phone.rtp(packet(65_700))) == packet(65_700)
    assert opener.rtcp(phone.rtcp(REPORT)) == REPORT
    for each in told[-100:]:
        with pytest.raises(Refused):
            opener.rtp(each)


@SUITE_NAMES
def test_no_index_is_sealed_with_twice(suite: Suite, memory: Memory) -> None:
    key = os.urandom(suite.size)
    sealer, opener = pair(suite, key, memory)
    for index in range(65_500, 65_600):
        if index % 7:  # others were lost before they came to us
            sealer.rtp(packet(index))
    reported = {sealer.rtcp(REPORT)[-14:] for _ in range(3)}
    sealer, opener = restarted(sealer, opener, memory)
    for index in range(65_500, 65_600):
        with pytest.raises(Refused):
            sealer.rtp(packet(index, b"another"))
    assert sealer.rtp(packet(65_600))
    with pytest.raises(Refused):
        sealer.rtp(packet(65_599, b"another"))
    report = sealer.rtcp(REPORT)
    assert report[-14:] not in reported
    assert Opener(suite, key).rtcp(report) == REPORT


def test_reports_wait_until_many_indexes_are_used_up(memory: Memory) -> None:
    key = os.urandom(CM_80.size)
    sealer, _ = pair(CM_80, key, memory)
    count = MAX_CATCH_UP + 10
    for _ in range(count):
        last = sealer.rtcp(REPORT)
    memory.restart()
    sealer = memory.again(sealer)
    with pytest.raises(Refused):
        sealer.rtcp(REPORT)
    told = [int.from_bytes(each[-14:-10], "big") & 0x7FFFFFFF for each in (last, sealer.rtcp(REPORT))]
    assert told == [count, count + 1]


def test_a_process_may_die_again_and_again(memory: Memory) -> None:
    key = os.urandom(GCM_128.size)
    phone_sealer, phone_opener = Sealer(GCM_128, key), Opener(GCM_128, key)
    sealer, opener = pair(GCM_128, key, memory)
    for index in range(32_760, 140_000, 20_000):
        assert opener.rtp(phone_sealer.rtp(packet(index))) == packet(index)
        assert phone_opener.rtp(sealer.rtp(packet(index))) == packet(index)
        sealer, opener = restarted(sealer, opener, memory)


def test_sources_do_not_mix(memory: Memory) -> None:
    key = os.urandom(GCM_128.size)
    phone = Sealer(GCM_128, key)
    _, opener = pair(GCM_128, key, memory)
    for index, source in ((65_000, 1), (100, 2), (66_000, 1), (300, 2)):
        opener.rtp(phone.rtp(packet(index, source=source)))
    memory.restart()
    opener = memory.again(opener)
    for index, source in ((66_001, 1), (301, 2), (5, 3)):
        assert opener.rtp(phone.rtp(packet(index, source=source))) == packet(index, source=source)


@given(some.lists(some.integers(-20, 32_767), min_size=1, max_size=60), some.integers(0, 65_535))
@settings(deadline=None)
def test_the_book_says_what_libsrtp_thinks(steps: list[int], first: int) -> None:
    """Two ciphers of libsrtp agree; the index that we count is the one under which a third one, led there, agrees."""
    key = bytes(range(GCM_128.size))
    memory_page = Page()
    there, here = Sealer(GCM_128, key), Opener(GCM_128, key, memory_page)
    index = highest = first
    for step in steps:
        try:
            sealed = there.rtp(packet(index))
            assert here.rtp(sealed) == packet(index)
            highest = max(highest, index)
        except Refused:
            pass
        assert memory_page.due((1).to_bytes(4, "big")) == highest + 1
        index = max(0, highest + step) if highest > 0x8000 or highest + step < 65_536 else highest
    late = Opener(GCM_128, key, memory_page)
    assert late.rtp(Sealer(GCM_128, key, memory_page).rtp(packet(highest + 1))) == packet(highest + 1)


@pytest.mark.parametrize(
    ("due", "sequence", "index"),
    [(0, 65_535, 65_535), (1, 65_535, 65_535), (65_536, 0, 65_536), (65_537, 65_535, 65_535), (131_073, 5, 131_077)],
)
def test_the_nearest_index_is_meant(due: int, sequence: int, index: int) -> None:
    assert estimate(due, sequence) == index


# The book


def test_a_page_that_was_lent_again_is_not_found() -> None:
    memory = Memory()
    page = memory.book.take()
    number, tag = page.number, page.tag
    page.reach(b"abcd", 7)
    assert memory.book.find(number, tag) is None, "somebody has it"
    memory.restart()
    assert memory.book.find(number, tag + 1) is None
    again = memory.book.find(number, tag)
    assert again is not None
    assert (again.due(b"abcd"), list(again)) == (8, [b"abcd"])
    memory.book.give(again)
    assert memory.book.find(number, tag) is None
    assert memory.book.find(number, 0) is None


def test_without_memory_or_room_a_page_is_private() -> None:
    assert Book().take().number == -1
    memory = Memory()
    pages = [memory.book.take() for _ in range(MAX_PAGES)]
    assert len({page.number for page in pages}) == MAX_PAGES
    private = memory.book.take()
    assert private.number == -1
    memory.book.give(private)
    assert memory.book.take().number == -1
    assert all(page.due(b"abcd") == page.report(b"abcd") == 0 for page in pages[:10])


def test_a_page_has_room_for_as_many_sources_as_are_served() -> None:
    page = Page()
    for number in range(MAX_SOURCES):
        page.reach(number.to_bytes(4, "big"), number)
        page.reach_report(number.to_bytes(4, "big"), number)
    assert len(page) == MAX_SOURCES
    assert page.due((MAX_SOURCES - 1).to_bytes(4, "big")) == MAX_SOURCES


def test_a_page_may_be_handed_to_another_process_of_the_same_memory() -> None:
    raw = memoryview(bytearray(SIZE))
    first, second = (Book(raw, os.urandom, Share(number, 2)) for number in (0, 1))
    page = first.take()
    page.reach(b"abcd", 7)
    first.part(page)
    taken = second.find(page.number, page.tag)
    assert taken is not None
    assert taken.due(b"abcd") == 8
    again = Book(raw, os.urandom, Share(0, 2))
    numbers = {again.take().number for _ in range(MAX_PAGES // 2)}
    assert taken.number not in numbers, "whoever begins anew sees that it is in use"
    second.give(taken)
    assert taken.number not in {second.take().number for _ in range(MAX_PAGES // 2)}, "it is not ours to take"
