"""Latching: RFC 7362, and the ways to abuse it."""

from __future__ import annotations

from sbc.media.latch import EXACT, FOREIGN, HOST, PROOF, SIGNALLED, Latch, rank

PHONE = ("198.51.100.7", 4000)
NAT = ("203.0.113.9", 51000)
STRANGER = ("192.0.2.66", 6666)


def test_how_well_a_source_fits() -> None:
    assert rank(PHONE, PHONE, NAT[0]) == EXACT
    assert rank((PHONE[0], 1), PHONE, NAT[0]) == HOST
    assert rank(NAT, PHONE, NAT[0]) == SIGNALLED
    assert rank(STRANGER, PHONE, NAT[0]) == FOREIGN
    assert rank(NAT, None, NAT[0]) == SIGNALLED
    assert rank(("2001:db8::1", 4, 0, 0)[:2], ("2001:db8::1", 4), "") == EXACT


def test_nobody_is_believed_before_signalling() -> None:
    latch = Latch()
    assert not latch.accept(STRANGER, 0.0)
    assert latch.destination is None


def test_a_phone_without_nat_is_sent_to_before_it_speaks() -> None:
    latch = Latch()
    latch.signal(PHONE, PHONE[0], muted=False)
    assert latch.destination == PHONE
    assert latch.accept(PHONE, 0.0)
    assert latch.source == PHONE


def test_a_phone_behind_nat_is_sent_to_once_it_speaks() -> None:
    latch = Latch()
    latch.signal(None, NAT[0], muted=False)
    assert latch.destination is None
    assert latch.accept(NAT, 0.0)
    assert latch.destination == NAT


def test_a_stranger_never_latches_before_or_after() -> None:
    latch = Latch()
    latch.signal(PHONE, NAT[0], muted=False)
    assert not latch.accept(STRANGER, 0.0)
    assert latch.accept(NAT, 0.0)
    assert not latch.accept(STRANGER, 0.0)
    assert (latch.source, latch.destination) == (NAT, NAT)


def test_only_a_better_source_moves_the_latch() -> None:
    latch = Latch()
    latch.signal(PHONE, NAT[0], muted=False)
    assert latch.accept(NAT, 0.0)
    assert not latch.accept((NAT[0], 52000), 0.0)
    assert latch.accept((PHONE[0], 4002), 0.0)
    assert not latch.accept(NAT, 0.0)
    assert latch.accept(PHONE, 0.0)
    assert not latch.accept((PHONE[0], 4002), 0.0)
    assert latch.destination == PHONE


def test_new_signalling_lets_the_party_move() -> None:
    latch = Latch()
    latch.signal(None, NAT[0], muted=False)
    latch.accept(NAT, 0.0)

    latch.signal(None, NAT[0], muted=False)
    assert latch.destination == NAT  # kept until the party is heard elsewhere
    assert latch.accept((NAT[0], 52000), 0.0)
    assert latch.destination == (NAT[0], 52000)

    latch.signal(None, "203.0.113.10", muted=False)
    assert latch.destination is None
    assert not latch.accept(NAT, 0.0)
    assert latch.accept(("203.0.113.10", 7000), 0.0)


def test_hold_and_resume() -> None:
    latch = Latch()
    latch.signal(None, NAT[0], muted=False)
    latch.accept(NAT, 0.0)

    latch.signal(None, NAT[0], muted=True)
    assert latch.destination is None
    assert latch.accept(NAT, 0.0)  # it may play music, but gets nothing
    assert latch.destination is None

    latch.signal(None, NAT[0], muted=False)
    assert latch.destination == NAT


def test_another_address_of_the_same_machine() -> None:
    latch = Latch()
    latch.signal(("127.0.0.1", 4000), "127.0.0.1", muted=False, alias="198.51.100.1")
    assert latch.accept(("198.51.100.1", 4000), 0.0)
    assert not latch.accept(STRANGER, 0.0)


def test_a_stranger_is_admitted_late_and_only_until_somebody_better_speaks() -> None:
    latch = Latch()
    latch.signal(None, NAT[0], muted=False, strangers_at=2.0)
    assert not any(latch.accept(STRANGER, 1.9) for _ in range(2 * PROOF))
    assert [latch.accept(STRANGER, 2.0) for _ in range(PROOF)] == [False] * (PROOF - 1) + [True]
    assert latch.destination == STRANGER
    assert not any(latch.accept(("192.0.2.67", 1), 3.0) for _ in range(2 * PROOF))
    assert latch.accept(NAT, 3.0)
    assert not any(latch.accept(STRANGER, 9.0) for _ in range(2 * PROOF))


def test_strangers_that_take_turns_prove_nothing() -> None:
    latch = Latch()
    latch.signal(None, NAT[0], muted=False, strangers_at=0.0)
    assert not any(latch.accept((STRANGER[0], port), 1.0) for port in (1, 2) * PROOF)
