"""sbcctl against the API, without a network; and once over a real socket."""

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sbc.admin import accounts, console
from sbc.admin.api import api_routes
from sbc.admin.build import admin_service
from sbc.admin.client import ApiError, Client
from sbc.admin.console import main
from sbc.admin.keyfile import read_key
from sbc.admin.ports import Account
from sbc.admin.printing import fields, table
from sbc.admin.settings import AdminSettings
from sbc.settings import Address
from sbc.sip.digest import ha1
from sbc.store import tables
from sbc.transport.tls import CertificateError
from tests.unit.admin.browser import WRITER, Browser
from tests.unit.admin.nodes import a_node

AT = 1_700_000_000.0


class Line:
    """An HTTP connection that ends in a browser of the tests."""

    port = 8080

    def __init__(self, browser):
        self.browser = browser

    def request(self, method, target, content, headers):
        self.page = self.browser.ask(method, target, raw=content or b"", headers=headers)

    def getresponse(self):
        return self

    @property
    def status(self):
        return self.page.status

    def getheader(self, name, default):
        return self.page.headers.get(name.lower(), default)

    def read(self):
        return self.page.body

    def close(self):
        pass


@pytest.fixture
def node():
    return a_node()


@pytest.fixture
def run(node, monkeypatch, tmp_path):
    browser = Browser(api_routes(node, "0.1.0"))
    monkeypatch.setattr(Client, "_connection", lambda self: Line(browser))
    monkeypatch.chdir(tmp_path)

    def run(*words, key=WRITER, **more):
        return CliRunner().invoke(main, list(words), env={"SBC_KEY": key or ""}, **more)

    return run


def test_lists_as_tables_and_as_json(run, node):
    users = [{"username": f"user{number}", "domain": "pbx", "upper": "pbx"} for number in range(3)]
    node.store.insert(tables.users, *users)
    lines = run("users").output.splitlines()
    assert lines[0].split()[:3] == ["id", "username", "domain"]
    assert [line.split()[1] for line in lines[1:]] == ["user0", "user1", "user2"]
    assert len(run("users", "--limit", "2").output.splitlines()) == 3
    found = json.loads(run("--json", "users", "--username", "user1").output)
    assert [user["username"] for user in found] == ["user1"]


def test_every_command_that_looks(run, node):
    node.store.insert(tables.users, {"username": "alice", "domain": "pbx", "upper": "pbx"})
    node.call_log.start("c/1", "sip:bob@pbx", "sip:alice@pbx", "pbx", AT)
    said = {
        ("status",): "edge-1",
        ("user", "1"): "alice",
        ("bindings",): "transport",
        ("tokens",): "provider",
        ("registrations",): "last code",
        ("registrations", "--summary"): "count",
        ("uppers",): "sip:pbx.example.com",
        ("route", "0049", "--caller", "alice"): "priority 0, lot 0.500",
        ("--json", "route", "0049", "--domain", "nowhere", "--in"): '"missing": [\n    "nowhere"',
        ("calls",): "sip:bob@pbx",
        ("cdr",): "ended by",
        ("timeline", "c/1"): "sip:bob@pbx calls sip:alice@pbx",
        ("pushes",): "outcome",
        ("bans",): "automatic",
        ("settings", "log."): "log.level",
        ("trace", "show"): "",
        ("key", "list"): "role",
    }
    for words, expected in said.items():
        result = run(*words, key="")
        assert result.exit_code == 0, (words, result.output)
        assert expected in result.output, words


def test_commands_that_act(run, node):
    assert run("reload").output == "log.level: info -> debug\n"
    assert "accepted" in run("push", "send", "call", "--to", "alice", "--from", "bob").output
    assert "ended  1" in run("hangup", "c1").output
    assert "lifted" in run("unban", "192.0.2.66").output
    assert "trace  yes" in run("trace", "on", "--call-id", "c1").output
    node.trace.record(AT, "in", "udp:a", "udp:b", b"INVITE sip:a SIP/2.0\r\ni: c1\r\nX-PIID: abc\r\n\x1b[2J")
    shown = run("trace", "show", "c1").output
    assert "X-PIID: ***" in shown
    assert "\x1b" not in shown
    assert "trace  no" in run("trace", "off").output
    assert [asked[0] for asked in node.actions.asked] == ["reload", "push", "end", "unban"]


HEADS = "username,domain,realm,auth_username,md5,sha-256,sha-512-256\n"


def test_ha1s_from_a_file(run, node, tmp_path, monkeypatch):
    monkeypatch.setattr(accounts, "ROWS", 2)
    table = tmp_path / "users.csv"
    md5, sha = "1" * 32, "a" * 64
    table.write_text(
        f"username,domain,password,md5,sha-256,auth_username\nalice,PBX.example.com,,{md5},{sha},100\n"
        f"bob,pbx.example.com,secret,,,\ncarol,pbx.example.com,,{md5},,\n"
    )
    assert "saved  3" in run("ha1", str(table)).output
    first, second = [asked[1] for asked in node.actions.asked]
    assert first[0] == Account("alice", "pbx.example.com", "pbx.example.com", "100", f"{md5},{sha}")
    assert md5 not in repr(first[0])
    made = [ha1("bob", "pbx.example.com", "secret", name) for name in ("MD5", "SHA-256", "SHA-512-256")]
    bob = Account("bob", "pbx.example.com", "pbx.example.com", "bob", f"{made[0]},{made[1]},SHA-512-256:{made[2]}")
    assert (first[1:], second) == ([bob], [Account("carol", "pbx.example.com", "pbx.example.com", "carol", md5)])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("", "columns"),
        ("user,domain\na,b\n", "'user' is none"),
        (HEADS + "alice,pbx,,,zz,,\n", "line 2: an HA1 has"),
        (HEADS + "alice,pbx,,,,,\n", "line 2: an HA1 has"),
        (HEADS + ",pbx,,,,,\nbob,pbx\n", "line 3: not as many values"),
        (HEADS + f",pbx,,,{'1' * 32},,\n" * 7, "line 6: no user name or no domain; and more"),
        (HEADS + f"alice,pbx,,,{'1' * 64},,\n", "line 2: an HA1 has"),
    ],
)
def test_a_table_that_is_none(run, node, tmp_path, rows, told):
    table = tmp_path / "users.csv"
    table.write_text(rows)
    result = run("ha1", str(table))
    assert result.exit_code == 1
    assert told in result.output
    assert node.actions.asked == [], "nothing of it was stored"
    assert run("ha1", str(table), key="").exit_code == 1


def test_refusals_are_said_and_fail(run):
    result = run("hangup", "c9")
    assert result.exit_code == 1
    assert "no call with this Call-ID" in result.output
    result = run("reload", key="")
    assert result.exit_code == 1
    assert "--key" in result.output
    assert run("--url", "nonsense://x", "status").exit_code == 2


def test_the_key_comes_from_a_private_file(run, node):
    path = Path("admin.key")
    path.write_text(WRITER + "\n")
    path.chmod(0o600)
    assert run("--key-file", "admin.key", "reload", key="").exit_code == 0
    path.chmod(0o644)
    result = run("--key-file", "admin.key", "reload", key="")
    assert result.exit_code == 1
    assert "chmod 600" in result.output


def test_the_prompt_goes_on_after_a_mistake(run):
    typed = "status\nnonsense\nhangup c9\nhangup 'c\n\nreload\nquit\nstatus\n"
    result = run("console", input=typed)
    assert result.exit_code == 0
    assert result.output.count("edge-1") == 1
    assert "No such command" in result.output
    assert "no call with this Call-ID" in result.output
    assert "log.level: info -> debug" in result.output
    assert run("console", input="status\n").exit_code == 0


def test_other_rooms_add_commands(run, monkeypatch):
    added = ModuleType("a_room")

    @click.command()
    def lab():
        """Try things out."""
        click.echo("in the lab")

    added.lab = lab
    monkeypatch.setitem(sys.modules, "a_room", added)
    points = [EntryPoint("lab", "a_room:lab", console.COMMANDS)]

    def found(group, name=None):
        assert group == console.COMMANDS
        return [point for point in points if name in (None, point.name)]

    monkeypatch.setattr(console, "entry_points", found)
    assert "Try things out" in run("--help").output
    assert run("lab").output == "in the lab\n"
    assert run("labs").exit_code == 2


def test_cells_do_nothing_to_a_terminal():
    lines = table(
        [{"name": "\x1b]0;owned\x07\u202e\r\n", "count": 1.5, "on": True, "none": None}],
        ["name", "count", "on", "none"],
    )
    assert lines == ["name           count  on   none", "?]0;owned????  1.5    yes"]
    assert table([{"name": "x" * 100}], ["name"])[1] == "x" * 59 + "…"
    assert fields({"a": ["x\ty"], "long_name": 0.0}) == ["a          x?y", "long name  0"]


class OverTheWire(TestCase):
    @inlineCallbacks
    def test_a_console_and_a_node_on_one_host(self):
        state = Path(self.mktemp())
        node = a_node()
        settings = AdminSettings(listen=Address("127.0.0.1", 0))
        service = admin_service(reactor, settings, node, state, "0.1.0", monotonic=reactor.seconds, utc=reactor.seconds)
        service.startService()
        self.addCleanup(service.stopService)
        url = f"http://127.0.0.1:{service.port.getHost().port}"
        client = Client(url, read_key(state / "admin.key"))
        answer = yield deferToThread(client.ask, "GET", "/healthz")
        self.assertEqual(answer["status"], "ready")
        text = yield deferToThread(client.ask, "GET", "/metrics")
        self.assertIn("sbc_sip_messages_total", text)
        answer = yield deferToThread(client.ask, "POST", "/reload")
        self.assertEqual(answer["lines"], ["log.level: info -> debug"])
        self.assertEqual(node.actions.asked, [("reload", "host")])
        with self.assertRaises(ApiError) as refused:
            yield deferToThread(Client(url).ask, "POST", "/reload")
        self.assertEqual(refused.exception.status, 401)

    @inlineCallbacks
    def test_over_tls_with_a_certificate_that_is_verified(self):
        state = Path(self.mktemp())
        state.mkdir()
        certificate, key = self.certificate(state)
        settings = AdminSettings(listen=Address("127.0.0.1", 0), certificate=str(certificate), key=str(key))
        service = admin_service(
            reactor, settings, a_node(), state, "0.1.0", monotonic=reactor.seconds, utc=reactor.seconds
        )
        service.startService()
        self.addCleanup(service.stopService)
        url = f"https://127.0.0.1:{service.port.getHost().port}"
        answer = yield deferToThread(Client(url, ca=str(certificate)).ask, "GET", "/healthz")
        self.assertEqual(answer["status"], "ready")
        with self.assertRaises(ApiError) as refused:
            yield deferToThread(Client(url).ask, "GET", "/healthz")
        self.assertIn("certificate", str(refused.exception))
        key.write_text("broken")
        service.configure(settings)  # the old certificate stays
        answer = yield deferToThread(Client(url, ca=str(certificate)).ask, "GET", "/healthz")
        self.assertEqual(answer["status"], "ready")

    def test_a_key_that_others_may_read_is_not_used(self):
        state = Path(self.mktemp())
        state.mkdir()
        certificate, key = self.certificate(state)
        key.chmod(0o644)
        settings = AdminSettings(listen=Address("127.0.0.1", 0), certificate=str(certificate), key=str(key))
        service = admin_service(
            reactor, settings, a_node(), state, "0.1.0", monotonic=reactor.seconds, utc=reactor.seconds
        )
        service.startService()
        self.addCleanup(service.stopService)
        self.assertIsNone(service.port)
        (error,) = self.flushLoggedErrors(CertificateError)
        self.assertIn("chmod 600", str(error.value))

    def certificate(self, directory):
        """A certificate for 127.0.0.1 that signs itself, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sbc")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        certificate, private = directory / "cert.pem", directory / "key.pem"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
        private.chmod(0o600)
        return certificate, private
