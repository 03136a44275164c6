"""Diary, script, authority, tokens, descriptions of media: the small pieces of the laboratory."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from OpenSSL import crypto
from twisted.internet.testing import StringTransport

from sbc.lab.apns import certificate_topics
from sbc.lab.authority import P12_PASSWORD, Authority
from sbc.lab.diary import Diary
from sbc.lab.http2 import Exchange, Http2Factory
from sbc.lab.rtp import media_address
from sbc.lab.script import ANY, Answer, Script
from sbc.lab.tokens import TokenError, verify
from tests.unit.lab.browser import Http2Client, es256

NOW = 1_800_000_000.0


def test_a_diary_fires_for_what_was_and_for_what_comes() -> None:
    diary, fired = Diary(lambda: 7.0), []
    diary.when("rung").addCallback(fired.append)
    diary.when("rung", 2).addCallback(fired.append)
    diary.note("rung", "a")
    diary.note("hung up")
    diary.note("rung", "b")
    diary.when("hung up").addCallback(fired.append)
    assert [(entry.at, entry.kind, entry.detail) for entry in fired] == [
        (7.0, "rung", "a"),
        (7.0, "rung", "b"),
        (7.0, "hung up", None),
    ]


def test_who_stops_waiting_is_forgotten() -> None:
    diary = Diary(lambda: 0.0)
    gone = diary.when("never")
    gone.addErrback(lambda _: None)
    gone.cancel()
    diary.note("never")


def test_plans_are_followed_once_and_standing_steps_for_ever() -> None:
    script: Script[Answer] = Script()
    bad, worse = Answer(status=410), Answer(status=500)
    script.plan("x", bad)
    script.always(ANY, worse)
    assert [script.next("x"), script.next("x"), script.next("y")] == [bad, worse, worse]
    script.always(ANY, None)
    assert script.next("x") is None


def test_the_authoritys_files_are_secret_and_what_apple_makes(tmp_path: Path) -> None:
    authority = Authority(tmp_path, now_at=NOW)
    bundled, pem = authority.apns_certificate()
    _, certificate, _ = pkcs12.load_key_and_certificates(bundled.read_bytes(), P12_PASSWORD.encode())
    assert certificate is not None
    assert certificate.subject.get_attributes_for_oid(x509.NameOID.USER_ID)[0].value == "com.example.phone"
    topics = certificate_topics(crypto.X509.from_cryptography(certificate))
    assert topics == {"com.example.phone", "com.example.phone.voip"}
    assert certificate_topics(None) is None
    files = [bundled, pem, authority.apns_key(), authority.vapid_key(), authority.service_account("https://x/token")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 5
    assert authority.apns_key().name == "AuthKey_ABC123DEFG.p8"


def test_tokens_signed_by_others_or_by_nobody(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "a", now_at=NOW), Authority(tmp_path / "b", now_at=NOW)
    good = es256(ours.apns_key(), {"kid": "x"}, {"iat": 1})
    assert verify(good, ours.apns_public_key()) == {"iat": 1}
    head, _, signature = good.rpartition(".")
    for bad in (good[:-8], head + ".", f"{head}.{signature[:40]}", "a.b", "x" * 9000, "W10.W10.W10", good.upper()):
        with pytest.raises(TokenError):
            verify(bad, ours.apns_public_key())
    with pytest.raises(TokenError, match="another key"):
        verify(good, theirs.apns_public_key())
    with pytest.raises(TokenError, match="alg"):
        verify(good, ours.service_account_public_key())


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0"], ("10.0.0.1", 4000)),
        (["c=IN IP4 10.0.0.1", "m=audio 4000 RTP/AVP 0", "c=IN IP4 10.0.0.2"], ("10.0.0.2", 4000)),
        (["c=IN IP4 10.0.0.1", "m=video 5000 RTP/AVP 96", "m=audio 4000 RTP/AVP 0"], ("10.0.0.1", 4000)),
        (["c=IN IP6 ::1", "m=audio 4000 RTP/AVP 0", "m=video 5000 RTP/AVP 96", "c=IN IP6 ::2"], ("::1", 4000)),
        (["c=IN IP4 10.0.0.1", "m=audio 0 RTP/AVP 0"], None),
        (["m=audio 4000 RTP/AVP 0"], None),
        ([], None),
    ],
)
def test_where_the_sound_goes(lines: list[str], expected: tuple[str, int] | None) -> None:
    assert media_address("\r\n".join(["v=0", *lines, ""]).encode()) == expected


class Collector:
    """An application that keeps what it gets."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.open = 0

    def arrived(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def connected(self, connection: object) -> None:
        self.open += 1

    def disconnected(self, connection: object) -> None:
        self.open -= 1


def connection() -> tuple[Collector, object, StringTransport, Http2Client]:
    application = Collector()
    server = Http2Factory(application).buildProtocol(None)
    transport = StringTransport()
    server.makeConnection(transport)
    client = Http2Client()
    client.makeConnection(StringTransport())
    return application, server, transport, client


def pump(client: Http2Client, server: object, transport: StringTransport) -> None:
    for _ in range(4):
        server.dataReceived(client.transport.value())  # type: ignore[attr-defined]
        client.transport.clear()
        client.dataReceived(transport.value())
        transport.clear()


def test_an_http2_request_in_memory() -> None:
    application, server, transport, client = connection()
    pump(client, server, transport)
    answers = []
    client.post("/x", {"a": "b"}, b"hello").addCallback(answers.append)
    pump(client, server, transport)
    (exchange,) = application.exchanges
    assert (exchange.headers[":path"], exchange.headers["a"], exchange.body) == ("/x", "b", b"hello")
    exchange.reply(200, {"c": "d"}, b"{}")
    exchange.reply(500, {})
    pump(client, server, transport)
    assert answers[0][0] == 200 and answers[0][1]["c"] == "d"


def test_a_body_without_end_is_cut_off() -> None:
    application, server, transport, client = connection()
    pump(client, server, transport)
    answers: list[object] = []
    stream = client.begin("/y", answers)
    while not answers:
        client.h2.send_data(stream, b"x" * 16_000)
        client.flush()
        pump(client, server, transport)
    assert "reset" in str(answers[0])
    assert application.exchanges == []


def test_noise_ends_an_http2_connection() -> None:
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 20, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)):
        application, server, transport, _ = connection()
        server.dataReceived(noise)  # type: ignore[attr-defined]
        assert transport.disconnecting
        server.connectionLost(None)  # type: ignore[attr-defined]
        assert application.open == 0
