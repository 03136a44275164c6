"""`sbcctl lab providers` and `sbcctl lab phone`, run beside each other until they are interrupted."""

import shutil
import tempfile
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.trial.unittest import TestCase

from sbc.lab.cli import lab
from sbc.lab.foreground import carry, serve
from sbc.lab.upper import Upper
from tests.unit.lab.browser import Http2Client, es256, tls
from tests.waiting import turns, until


class Interruptible:
    """The reactor, and a way to say that it is about to stop."""

    def __init__(self):
        self.stopping = []

    def __getattr__(self, name):
        return getattr(reactor, name)

    def addSystemEventTrigger(self, phase, event, call, *arguments):
        self.stopping.append(lambda: call(*arguments))

    def interrupt(self):
        for stop in self.stopping:
            stop()


def lines(told, what, count=1) -> Deferred:
    """Fires when `count` lines with `what` have been told."""
    return until(lambda: sum(what in line for line in told) >= count, f"{count} times {what!r}")


class Foreground(TestCase):
    def setUp(self):
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)

    @inlineCallbacks
    def test_a_push_for_the_phone_of_another_process_wakes_it(self):
        services, device, told = Interruptible(), Interruptible(), []
        served = serve(services, self.directory, "com.example.phone", (0, 0, 0, 0), time.time(), told.append)
        upper = Upper(reactor, users={"bob": "secret"})
        yield upper.start()
        sections = tomllib.loads(told[0])
        self.assertEqual([app["provider"] for app in sections["push"]["app"]], ["apns", "fcm", "webpush"])
        self.assertTrue(Path(sections["apns"]["ca_file"]).exists())

        account = {"user": "bob", "password": "secret", "domain": "pbx.example.com", "host": "127.0.0.3"}
        account |= {
            "transport": "tcp",
            "provider": "apns",
            "dialect": "x-mpush",
            "wake_delay": 0.0,
            "answer_after": 0.0,
        }
        carried = carry(device, self.directory, f"{upper.host}:{upper.port}", 0.05, account, told.append)
        yield lines(told, "asleep")
        register = upper.saw("REGISTER")[-1].request
        token = register.first(b"x-mpush").rpartition(b":")[2].decode()
        yield self.push(told[0], token)
        yield lines(told, "a push arrived")
        yield lines(told, "  registered", 2)
        device.interrupt()
        yield carried
        services.interrupt()
        yield served
        yield upper.stop()
        yield turns()

    @inlineCallbacks
    def push(self, sections, token):
        """As the SBC would: by the credentials and the address it is configured with."""
        found = tomllib.loads(sections)
        app, url = found["push"]["app"][0], urlsplit(found["apns"]["url"])
        key = Path(app["key"])
        claims = {"iss": app["team_id"], "iat": int(time.time())}
        bearer = es256(key, {"kid": key.stem.partition("_")[2]}, claims)
        options = tls(SimpleNamespace(ca_file=Path(found["apns"]["ca_file"])), [b"h2"])
        endpoint = wrapClientTLS(options, TCP4ClientEndpoint(reactor, url.hostname, url.port))
        client = yield connectProtocol(endpoint, Http2Client())
        headers = {"apns-topic": app["id"] + ".voip", "apns-push-type": "voip", "authorization": f"bearer {bearer}"}
        status, _, _ = yield client.post(f"/3/device/{token}", headers, b'{"aps":{}}')
        self.assertEqual(status, 200)

    def test_a_phone_without_services_says_what_is_missing(self):
        told = []
        self.assertRaises(SystemExit, carry, reactor, self.directory, "127.0.0.1:5060", 1.0, {}, told.append)
        self.assertIn("lab providers", told[0])


def test_the_commands_explain_themselves() -> None:
    for command in (["--help"], ["providers", "--help"], ["phone", "--help"]):
        assert CliRunner().invoke(lab, command).exit_code == 0
