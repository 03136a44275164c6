"""The emulated push services meet curl: an HTTP/2 and TLS stack that is not ours."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from twisted.internet.epollreactor import EPollReactor

from sbc.lab.apns import Apns
from sbc.lab.authority import Authority
from sbc.lab.script import Answer
from tests.peers.program import require

pytestmark = pytest.mark.peer
TOKEN = "a1" * 32


@pytest.fixture(scope="module", autouse=True)
def _curl() -> None:
    require("curl")
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False).stdout
    if "HTTP2" not in said:
        assert os.environ.get("CI", "").lower() not in ("true", "1"), "curl has no HTTP/2"
        pytest.skip("curl has no HTTP/2")


class Place:
    """An emulator on a reactor of its own, in a thread of its own: the tests themselves wait for curl."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory, now_at=time.time())
        self.reactor = EPollReactor()
        self.apns = Apns(self.reactor, self.authority)
        self.apns.start()
        self.thread = Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False})
        self.thread.start()

    def stop(self) -> None:
        self.reactor.callFromThread(lambda: (self.apns.stop(), self.reactor.callLater(0.05, self.reactor.stop)))
        self.thread.join(10)

    def push(self, *options: str, token: str = TOKEN, body: str = '{"aps":{}}', topic: str = "com.example.phone.voip"):
        command = ["curl", "-sS", "--http2", "--max-time", "60", "--cacert", str(self.authority.ca_file), "-D", "-"]
        command += ["-H", "apns-push-type: voip", "-H", "apns-priority: 10", "-H", "apns-expiration: 0"]
        command += ["-H", f"apns-topic: {topic}", "-d", body, *options, f"{self.apns.url}/3/device/{token}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        head, _, content = done.stdout.replace("\r", "").partition("\n\n")
        lines = head.splitlines()
        headers = dict(line.split(": ", 1) for line in lines[1:])
        version, _, status = lines[0].strip().partition(" ") if lines else ("", "", "0")
        return done, version, int(status), headers, json.loads(content) if content.strip() else {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    built = Place(tmp_path_factory.mktemp("lab"))
    yield built
    built.stop()


def part(value: dict[str, Any] | bytes) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def provider_token(authority: Authority, age: float = 10.0) -> str:
    key = serialization.load_pem_private_key(authority.apns_key().read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    head = part({"alg": "ES256", "kid": authority.key_id})
    claims = part({"iss": authority.team_id, "iat": int(time.time() - age)})
    r, s = decode_dss_signature(key.sign(f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256())))
    return f"authorization: bearer {head}.{claims}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def test_a_push_with_a_provider_token_is_accepted_over_http2(place: Place) -> None:
    _, version, status, headers, _ = place.push("-H", provider_token(place.authority))
    assert (version, status) == ("HTTP/2", 200)
    assert headers["apns-id"]
    assert place.apns.inbox.of(TOKEN)[-1].payload == {"aps": {}}


def test_a_push_with_the_client_certificate_is_accepted(place: Place) -> None:
    bundled, pem = place.authority.apns_certificate()
    assert place.push("--cert", str(pem))[2] == 200
    assert place.push("--cert-type", "P12", "--cert", f"{bundled}:lab")[2] == 200
    assert place.push("--cert", str(pem), topic="com.example.other.voip")[4] == {"reason": "TopicDisallowed"}


def test_a_stranger_is_refused(place: Place) -> None:
    assert place.push()[2::2] == (403, {"reason": "MissingProviderToken"})
    assert place.push("-H", provider_token(place.authority, age=3700))[4] == {"reason": "ExpiredProviderToken"}


def test_a_dead_token_gets_410_with_the_time_of_death(place: Place) -> None:
    place.apns.script.plan(TOKEN, Answer(status=410, reason="Unregistered", timestamp_at=1_700_000_000.0))
    _, _, status, _, body = place.push("-H", provider_token(place.authority))
    assert status == 410
    assert body == {"reason": "Unregistered", "timestamp": 1_700_000_000_000}


def test_goaway_and_refused_streams_make_curl_fail_or_try_again(place: Place) -> None:
    place.apns.script.plan(TOKEN, Answer(act="close"))
    done, *_ = place.push("-H", provider_token(place.authority))
    assert done.returncode != 0
    place.apns.script.plan(TOKEN, Answer(act="answer+goaway"))
    assert place.push("-H", provider_token(place.authority))[2] == 200


def test_http_1_is_not_spoken(place: Place) -> None:
    done, *_ = place.push("--http1.1", "-H", provider_token(place.authority))
    assert done.returncode != 0
