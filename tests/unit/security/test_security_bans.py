"""Who is shut out, for how long, and who cannot be."""

import pytest

from sbc.security import bans
from sbc.security.bans import OFFENCES, Ban, BanPolicy, BanTable
from sbc.transport.limits import BANNED, OVERLOAD, REFUSALS, TOO_MANY, TOO_MANY_FROM_SOURCE

PHONE, SCANNER = "192.0.2.1", "203.0.113.66"
AT = 1_800_000_000.0


class Notebook:
    """A recorder that remembers."""

    def __init__(self) -> None:
        self.bans: list[Ban] = []
        self.lifts: list[str] = []

    def banned(self, ban: Ban) -> None:
        self.bans.append(ban)

    def lifted(self, source: str) -> None:
        self.lifts.append(source)


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def table(notebook: Notebook) -> BanTable:
    return BanTable(BanPolicy(), notebook)


def offend(table: BanTable, host: str, kind: str, times: int, *, at: float = AT, proven: bool = True) -> Ban | None:
    ban = None
    for _ in range(times):
        ban = table.offence(host, kind, at, proven=proven) or ban
    return ban


def test_a_scanner_is_out_at_once_and_recorded(table: BanTable, notebook: Notebook) -> None:
    ban = table.offence(SCANNER, "scanner", AT, proven=True)
    assert ban == Ban(SCANNER, "scanner", AT, AT + 600.0)
    assert notebook.bans == [ban]
    assert table.banned(SCANNER)
    assert not table.banned(PHONE)


def test_guessing_passwords_takes_some_tries(table: BanTable) -> None:
    assert offend(table, SCANNER, "wrong-credentials", 4) is None
    assert offend(table, SCANNER, "wrong-credentials", 1) is not None


def test_honest_mistakes_fade(table: BanTable) -> None:
    for minute in range(100):
        assert offend(table, PHONE, "wrong-credentials", 3, at=AT + 60.0 * minute) is None


def test_bans_end_by_themselves_and_grow(table: BanTable) -> None:
    now = AT
    lengths = []
    for _ in range(9):
        ban = table.offence(SCANNER, "scanner", now, proven=True)
        assert ban is not None
        lengths.append(ban.until_at - now)
        assert table.expire(ban.until_at - 1.0) == []
        assert table.expire(ban.until_at) == [SCANNER]
        assert not table.banned(SCANNER)
        now = ban.until_at
    assert lengths[:4] == [600.0, 1_200.0, 2_400.0, 4_800.0]
    assert lengths[-1] == 86_400.0
    ban = table.offence(SCANNER, "scanner", now + 90_000.0, proven=True)
    assert ban is not None
    assert ban.until_at - ban.since_at == 600.0


def test_forged_packets_ban_nobody_for_longer_than_a_minute(table: BanTable) -> None:
    for _ in range(50):
        offend(table, PHONE, "scanner", 3, proven=False)
    assert [ban.until_at - ban.since_at for ban in table.each()] == [60.0]
    table.expire(AT + 60.0)
    ban = table.offence(PHONE, "scanner", AT + 61.0, proven=False)
    assert ban is not None
    assert ban.until_at - ban.since_at == 60.0


def test_forged_packets_never_ban_who_is_authenticated(table: BanTable) -> None:
    table.vouch(PHONE, AT + 300.0)
    assert offend(table, PHONE, "scanner", 100, proven=False) is None
    assert offend(table, PHONE, "scanner", 1, at=AT + 301.0, proven=False) is not None
    table.vouch(SCANNER, AT + 300.0)
    assert offend(table, SCANNER, "scanner", 1, proven=True) is not None


def test_an_ipv6_customer_is_one_source(table: BanTable) -> None:
    table.offence("2001:db8:1:2::3", "scanner", AT, proven=True)
    assert table.banned("2001:db8:1:2:ffff::1")
    assert not table.banned("2001:db8:1:3::1")
    assert table.lift("2001:db8:1:2::/64")


def test_operators_ban_and_lift(table: BanTable, notebook: Notebook) -> None:
    table.ban(PHONE, "abuse", AT, 1_000_000.0, "alice")
    assert [(ban.source, ban.by) for ban in table.each()] == [(PHONE, "alice")]
    # An automatic ban does not shorten it.
    offend(table, PHONE, "scanner", 1)
    assert table.each()[0].by == "alice"
    assert table.lift(PHONE)
    assert not table.lift(PHONE)
    assert notebook.lifts == [PHONE]
    assert not table.banned(PHONE)


def test_lifting_forgets_what_led_to_it(table: BanTable) -> None:
    offend(table, PHONE, "wrong-credentials", 5)
    table.lift(PHONE)
    assert offend(table, PHONE, "wrong-credentials", 4) is None


def test_stored_bans_come_back_without_being_recorded_again(table: BanTable, notebook: Notebook) -> None:
    table.restore([Ban(SCANNER, "scanner", AT, AT + 100.0), Ban(PHONE, "scanner", AT - 100.0, AT - 1.0)], AT)
    assert table.banned(SCANNER)
    assert not table.banned(PHONE)
    assert notebook.bans == []


def test_the_table_is_bounded(table: BanTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans, "BANNED_SOURCES", 10)
    for number in range(50):
        table.offence(f"198.51.100.{number}", "scanner", AT + number, proven=True)
    assert len(table) == 10
    assert table.banned("198.51.100.49")


def test_every_refusal_of_the_transports_has_a_weight_or_is_none_of_the_sources_doing() -> None:
    assert set(REFUSALS) - set(OFFENCES) == {BANNED, OVERLOAD, TOO_MANY, TOO_MANY_FROM_SOURCE}


@pytest.mark.parametrize("kind", ["wrong-credentials", "unknown-user"])
def test_a_mistyped_password_beside_phones_that_are_registered_bans_nobody(table: BanTable, kind: str) -> None:
    table.vouch(PHONE, AT + 300.0)
    assert offend(table, PHONE, kind, 50) is None
    assert offend(table, SCANNER, kind, 4) is None
    assert offend(table, SCANNER, kind, 1) is not None
