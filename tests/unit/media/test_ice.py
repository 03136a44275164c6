"""Connectivity checks and what ICE-lite answers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sbc.media import stun
from sbc.media.ice import CONSENT, MAX_VALID, Credentials, IceLite

LOCAL = Credentials(b"here", b"password-of-the-relay")
PEER = ("198.51.100.7", 4000)
TRANSACTION = bytes(range(12))


def agent() -> IceLite:
    made = IceLite(LOCAL)
    made.remote_ufrag = b"there"
    return made


def check(
    *more: tuple[int, bytes], user: bytes = b"here:there", password: bytes = LOCAL.password, nominate: bool = False
) -> bytes:
    attributes = [(stun.USERNAME, user), (stun.PRIORITY, bytes(4)), (stun.ICE_CONTROLLING, bytes(8)), *more]
    if nominate:
        attributes.append((stun.USE_CANDIDATE, b""))
    return stun.request(TRANSACTION, attributes, password)


def code(answer: bytes | None) -> int:
    assert answer is not None
    message = stun.parse(answer)
    assert message is not None
    value = message.attributes.get(stun.ERROR_CODE)
    return 200 if value is None else value[2] * 100 + value[3]


def test_a_check_is_answered_and_its_source_believed() -> None:
    ice = agent()
    answer = ice.receive(check(), PEER, 1.0)
    assert code(answer) == 200
    message = stun.parse(answer or b"")
    assert message is not None
    assert message.kind == stun.BINDING_SUCCESS
    assert message.transaction == TRANSACTION
    assert message.authentic(LOCAL.password)
    mapped = message.attributes[stun.XOR_MAPPED_ADDRESS]
    assert int.from_bytes(mapped[2:4], "big") ^ 0x2112 == 4000
    assert bytes(a ^ b for a, b in zip(mapped[4:], b"\x21\x12\xa4\x42", strict=True)) == bytes((198, 51, 100, 7))
    assert ice.believes(PEER)
    assert ice.selected == PEER


def test_the_sample_of_rfc_5769() -> None:
    """Section 2.1: a request that another implementation made."""
    data = bytes.fromhex(
        "000100582112a442b7e7a701bc34d686fa87dfae"
        "802200105354554e207465737420636c69656e74"
        "002400046e0001ff80290008932ff9b151263b36"
        "000600096576746a3a68367659202020"
        "00080014" + "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2" + "80280004e57a3bcf"
    )
    message = stun.parse(data)
    assert message is not None
    assert message.attributes[stun.USERNAME] == b"evtj:h6vY"
    assert message.authentic(b"VOkJxbRl1RmTxUk/WvJxBt")
    assert not message.authentic(b"another")


def test_an_ipv6_source() -> None:
    answer = agent().receive(check(), ("2001:db8::5", 4000, 0, 0), 1.0)
    message = stun.parse(answer or b"")
    assert message is not None
    assert len(message.attributes[stun.XOR_MAPPED_ADDRESS]) == 20


def test_nomination_moves_the_destination() -> None:
    ice = agent()
    first, second = ("192.0.2.1", 5), ("192.0.2.2", 6)
    ice.receive(check(), first, 1.0)
    ice.receive(check(), second, 1.0)
    assert ice.selected == first
    ice.receive(check(nominate=True), second, 1.1)
    assert ice.selected == second
    ice.receive(check(), first, 1.2)
    assert ice.selected == second


def test_who_does_not_know_the_password_learns_nothing() -> None:
    ice = agent()
    for wrong in (check(password=b"guess"), check(user=b"here:other"), check(user=b"x:there"), check(user=b"")):
        answer = ice.receive(wrong, PEER, 1.0)
        assert code(answer) == 401
        assert len(answer or b"") <= len(wrong)
        message = stun.parse(answer or b"")
        assert message is not None
        assert not message.has(stun.XOR_MAPPED_ADDRESS)
    assert not ice.believes(PEER)
    assert ice.selected is None


def test_a_check_without_credentials() -> None:
    ice = agent()
    long = stun._render(stun.BINDING_REQUEST, TRANSACTION, [(0x8022, bytes(20))], None)
    assert code(ice.receive(long, PEER, 1.0)) == 400
    short = stun._render(stun.BINDING_REQUEST, TRANSACTION, [], None)
    assert ice.receive(short, PEER, 1.0) is None, "an answer would be larger than the question"


def test_role_conflict_and_unknown_attributes() -> None:
    ice = agent()
    assert code(ice.receive(check((stun.ICE_CONTROLLED, bytes(8))), PEER, 1.0)) == 487
    answer = ice.receive(check((0x7FFF, b"")), PEER, 1.0)
    assert code(answer) == 420
    message = stun.parse(answer or b"")
    assert message is not None
    assert message.attributes[stun.UNKNOWN_ATTRIBUTES] == b"\x7f\xff"
    assert not ice.believes(PEER)


def test_what_is_no_check_gets_no_answer() -> None:
    ice = agent()
    good = check()
    wrong = good[:-1] + bytes((good[-1] ^ 1,))
    indication = stun._render(stun.BINDING_INDICATION, TRANSACTION, [], LOCAL.password)
    for data in (b"", b"\x00", good[:20], good + b"\x00" * 4, wrong, indication, good[:-8]):
        assert ice.receive(data, PEER, 1.0) is None


def test_consent_is_lost_after_thirty_seconds_of_silence() -> None:
    ice = agent()
    assert ice.consents(1000.0), "a peer that never came is not lost"
    ice.receive(check(), PEER, 1000.0)
    assert ice.consents(1000.0 + CONSENT - 0.1)
    assert not ice.consents(1000.0 + CONSENT)
    ice.receive(check(), PEER, 1031.0)
    assert ice.consents(1032.0)


def test_a_restart_keeps_the_old_path_until_there_is_a_new_one() -> None:
    ice = agent()
    ice.receive(check(nominate=True), PEER, 1.0)
    fresh = Credentials(b"new", b"another-password-of-ours")
    ice.restart(fresh)
    assert code(ice.receive(check(), PEER, 2.0)) == 200
    assert ice.selected == PEER
    moved = ("192.0.2.9", 9)
    assert code(ice.receive(check(user=b"new:again", password=fresh.password, nominate=True), moved, 3.0)) == 200
    assert ice.selected == moved
    assert code(ice.receive(check(), PEER, 4.0)) == 401


def test_few_sources_are_remembered() -> None:
    ice = agent()
    for port in range(MAX_VALID + 5):
        ice.receive(check(), ("192.0.2.1", port), 1.0)
    assert not ice.believes(("192.0.2.1", 0))
    assert ice.believes(("192.0.2.1", MAX_VALID + 4))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_nothing_raises_nor_amplifies(data: st.DataObject) -> None:
    """Random bytes, and checks in which some bytes are not what they were."""
    packet = bytearray(check(nominate=True))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    ice = agent()
    for each in (bytes(packet), bytes(packet[: data.draw(st.integers(0, len(packet)))]), data.draw(st.binary())):
        answer = ice.receive(each, PEER, 1.0)
        assert answer is None or code(answer) == 200 or len(answer) <= len(each)
