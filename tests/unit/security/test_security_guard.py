"""The guard at the door: lists before bans before rates."""

from ipaddress import ip_network

from sbc.security.access import AccessList
from sbc.security.generations import Generations
from sbc.security.guard import Guard
from sbc.security.rates import Rates
from sbc.security.settings import SecuritySettings
from sbc.settings import load
from tests.unit.security.test_security_bans import Notebook

AT = 1_800_000_000.0


def test_the_allow_list_is_above_everything() -> None:
    guard = Guard(SecuritySettings(allow=(ip_network("192.0.2.0/24"),), deny=(ip_network("192.0.0.0/8"),)), Notebook())
    guard.bans.ban("192.0.2.1", "by mistake", AT, 600.0, "alice")
    assert guard.admits("192.0.2.1")
    assert guard.exempt("192.0.2.1")
    assert not guard.admits("192.0.3.1")
    assert guard.admits("203.0.113.1")
    assert guard.offence("192.0.2.1", "scanner", AT, proven=True) is None


def test_upper_servers_are_never_limited_nor_banned() -> None:
    guard = Guard(SecuritySettings(source_rate=1.0, source_burst=1.0), Notebook())
    guard.befriend(["198.51.100.1"])
    assert all(guard.request("198.51.100.1", 0.0, AT, proven=False) for _ in range(100))
    assert guard.offence("198.51.100.1", "scanner", AT, proven=True) is None
    guard.befriend([])
    assert guard.offence("198.51.100.1", "scanner", AT, proven=True) is not None


def test_who_registered_lately_is_known_and_so_are_servers_and_who_is_listed() -> None:
    guard = Guard(SecuritySettings(allow=(ip_network("198.51.100.0/24"),)), Notebook())
    guard.befriend(["203.0.113.1"])
    assert not guard.known("192.0.2.1")
    guard.bans.vouch("192.0.2.1", AT + 600)
    assert all(guard.known(host) for host in ("192.0.2.1", "203.0.113.1", "198.51.100.9"))


def test_a_flood_is_dropped_and_in_time_banned() -> None:
    guard = Guard(SecuritySettings(source_rate=10.0, source_burst=20.0), Notebook())
    served = 0
    for tick in range(2_000):
        now = tick / 100.0
        served += guard.request("203.0.113.1", now, AT + now, proven=True)
    assert 200 <= served <= 225
    assert guard.bans.banned("203.0.113.1")


def test_two_hundred_phones_behind_one_nat_register_again() -> None:
    guard = Guard(SecuritySettings(), Notebook())
    # Each sends REGISTER twice (challenge) within the same second.
    assert all(guard.request("203.0.113.1", 0.002 * number, AT, proven=False) for number in range(400))
    assert not guard.bans.banned("203.0.113.1")


def test_automatic_bans_can_be_switched_off() -> None:
    guard = Guard(SecuritySettings(ban=False), Notebook())
    assert guard.offence("203.0.113.1", "scanner", AT, proven=True) is None


def test_new_settings_keep_the_bans() -> None:
    guard = Guard(SecuritySettings(), Notebook())
    guard.offence("203.0.113.1", "scanner", AT, proven=True)
    guard.configure(SecuritySettings(allow=(ip_network("203.0.113.2"),)))
    assert not guard.admits("203.0.113.1")
    guard.configure(SecuritySettings(allow=(ip_network("203.0.113.1"),)))
    assert guard.admits("203.0.113.1")


def test_the_section_as_an_operator_writes_it() -> None:
    text = '[security]\nallow = ["192.0.2.0/24", "2001:db8::1"]\nban_time = "1h"\n'
    settings = load(text, (SecuritySettings,), path="sbc.toml")[SecuritySettings]
    assert settings.ban_time == 3_600.0
    assert "192.0.2.9" in AccessList(settings.allow)
    assert "2001:db8::1" in AccessList(settings.allow)
    assert "2001:db8::2" not in AccessList(settings.allow)


def test_a_bucket_fills_again() -> None:
    rates = Rates(2.0, 3.0)
    assert [rates.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert rates.take("a", 0.5)
    assert not rates.take("a", 0.5)
    assert rates.take("b", 0.5)
    assert [rates.take("a", 100.0) for _ in range(4)] == [True, True, True, False]
    assert all(Rates(0.0, 1.0).take("a", 0.0) for _ in range(100))


def test_what_is_touched_is_kept() -> None:
    table: Generations[int, str] = Generations(10)
    table.put(-1, "kept")
    for number in range(1_000):
        table.put(number, "x")
        if number % 5 == 0:
            assert table.get(-1) == "kept"
    assert len(table) <= 20
    table.pop(-1)
    assert table.get(-1) is None
