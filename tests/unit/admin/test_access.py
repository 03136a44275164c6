"""Who is let in, and who is not."""

import base64
import hmac

import pytest

from sbc.admin import access as access_module
from sbc.admin import keys as keys_module
from sbc.admin.access import FAILURES, FORGET, LOCAL, Access, Credentials
from sbc.admin.keyfile import host_key, read_key
from sbc.admin.keys import ApiKey, Keyring, digest, make_key
from sbc.admin.routes import Refused

WRITER = make_key(b"w" * 32)
READER = make_key(b"r" * 32)
OLD = make_key(b"o" * 32)


@pytest.fixture
def access():
    return Access(
        Keyring(
            (
                ApiKey("ops", digest(WRITER), "write"),
                ApiKey("eyes", digest(READER), "read"),
                ApiKey("old", digest(OLD), "write", 1000.0),
            )
        ),
        hosts=["sbc.example.com"],
    )


def shown(peer="127.0.0.1", host="127.0.0.1:8080", authorization="", proxied=False):
    return Credentials(peer, host, authorization, proxied)


def basic(key):
    return "Basic " + base64.b64encode(f"me:{key}".encode()).decode()


def refused(access, credentials, need="read", now=0.0, now_at=5000.0):
    with pytest.raises(Refused) as error:
        access.admit(credentials, need, now, now_at)
    return error.value.status


def test_on_loopback_reading_is_free_and_writing_is_not(access):
    for peer in ("127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"):
        assert access.admit(shown(peer), "read", 0, 0) is LOCAL
        assert refused(access, shown(peer), "write") == 401
    access.key_on_loopback = True
    assert refused(access, shown()) == 401


def test_from_elsewhere_everything_needs_a_key(access):
    for peer in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", ""):
        assert refused(access, shown(peer)) == 401
    caller = access.admit(shown("192.0.2.7", authorization=f"Bearer {READER}"), "read", 0, 0)
    assert (caller.name, caller.role) == ("eyes", "read")


def test_a_proxy_on_this_host_does_not_make_its_clients_local(access):
    assert refused(access, shown(proxied=True)) == 401


def test_a_foreign_name_for_this_address_is_not_served(access):
    assert refused(access, shown(host="evil.example")) == 421
    assert refused(access, shown(host="")) == 421
    assert refused(access, shown("192.0.2.7", host="evil.example")) == 401
    assert access.admit(shown(host="node7", authorization=f"Bearer {READER}"), "read", 0, 0).name == "eyes"
    for host in ("localhost", "LOCALHOST:8080", "[::1]:8080", "sbc.example.com:443", "SBC.example.com."):
        assert access.admit(shown(host=host), "read", 0, 0) is LOCAL


def test_roles(access):
    assert access.admit(shown(authorization=f"Bearer {WRITER}"), "write", 0, 0).name == "ops"
    assert refused(access, shown(authorization=f"Bearer {READER}"), "write") == 403
    assert access.admit(shown("192.0.2.7", authorization=basic(WRITER)), "read", 0, 0).name == "ops"
    assert refused(access, shown(authorization=basic(WRITER)), "write") == 403  # a browser sends it by itself


def test_keys_expire(access):
    assert access.admit(shown(authorization=f"Bearer {OLD}"), "write", 0, 999.0).name == "old"
    assert refused(access, shown(authorization=f"Bearer {OLD}"), now_at=1000.0) == 401


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer nonsense", f"Bearer {WRITER}x", f"Bearer {WRITER[:-1]}", f"Digest {WRITER}", WRITER,
     "Basic", "Basic %%%", "Basic " + base64.b64encode(b"nocolon").decode(), f"Bearer {digest(WRITER)}",
     "Bearer \udcff"],
)  # fmt: skip
def test_what_is_no_key(access, authorization):
    assert refused(access, shown(authorization=authorization)) == 401


def test_guessing_is_slowed_down_per_address(access):
    for _ in range(FAILURES):
        assert refused(access, shown("192.0.2.7", authorization="Bearer x"), now=10.0) == 401
    assert refused(access, shown("192.0.2.7", authorization=f"Bearer {WRITER}"), now=11.0) == 429
    assert access.admit(shown("192.0.2.8", authorization=f"Bearer {WRITER}"), "read", 11.0, 0).name == "ops"
    assert access.admit(shown("192.0.2.7", authorization=f"Bearer {WRITER}"), "read", 11 + FORGET, 0).name == "ops"


def test_guessers_do_not_fill_the_memory(access, monkeypatch):
    monkeypatch.setattr(access_module, "SOURCES", 50)
    for number in range(200):
        refused(access, shown(f"2001:db8::{number:x}", authorization="Bearer x"))
    assert len(access._failures) == 50


def test_every_key_is_compared_in_constant_time(monkeypatch):
    compared = []
    real = hmac.compare_digest

    class Watched:
        @staticmethod
        def compare_digest(one, other):
            compared.append(one)
            return real(one, other)

    monkeypatch.setattr(keys_module, "hmac", Watched)
    ring = Keyring([ApiKey(str(number), digest(str(number)), "read") for number in range(5)])
    assert ring.recognise("0", 0).name == "0"
    assert len(compared) == 5  # no way out at the first match
    assert ring.recognise("x", 0) is None
    assert len(compared) == 10


def test_keys_are_long_and_random():
    assert len(make_key(b"\xff" * 32)) == 4 + 43
    with pytest.raises(ValueError, match="random"):
        make_key(b"short")


def test_the_key_of_this_host(tmp_path):
    path = tmp_path / "var" / "admin.key"
    key = host_key(path, lambda count: b"k" * count)
    assert path.stat().st_mode & 0o777 == 0o600
    assert host_key(path, lambda count: b"other" * count) == key == read_key(path)
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        host_key(path, lambda count: b"k" * count)
    with pytest.raises(PermissionError):
        read_key(path)
