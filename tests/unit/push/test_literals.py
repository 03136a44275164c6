"""Header blocks, read back by an independent decoder."""

from __future__ import annotations

from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from sbc.push.literals import MAX_REMEMBERED, LiteralEncoder

NAMES = st.one_of(
    st.sampled_from([b":path", b":authority", b"authorization", b"content-type", b"apns-topic"]), st.binary(min_size=1)
)


@given(st.lists(st.lists(st.tuples(NAMES, st.binary(max_size=400)), max_size=12), max_size=5))
def test_what_is_written_is_read(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    encoder, decoder = LiteralEncoder(), Decoder(max_header_list_size=1 << 20)
    for headers in blocks:
        assert [(n, v) for n, v in decoder.decode(encoder.encode(headers), raw=True)] == headers


def test_a_smaller_table_is_acknowledged() -> None:
    encoder, decoder = LiteralEncoder(), Decoder()
    decoder.decode(encoder.encode([(b":method", b"POST")]))
    encoder.header_table_size = decoder.max_allowed_table_size = 0
    block = encoder.encode([(b":scheme", b"https")])
    assert block == b"\x20\x87"
    assert encoder.encode([(b":scheme", b"https")]) == b"\x87"


def test_memory_is_bounded() -> None:
    encoder = LiteralEncoder()
    for number in range(3 * MAX_REMEMBERED):
        encoder.encode([(b"content-length", b"%d" % number)])
    assert len(encoder._remembered) <= MAX_REMEMBERED
