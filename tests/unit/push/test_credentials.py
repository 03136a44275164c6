"""Keys and certificates: where they are found, which app uses them, what is said about broken ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from sbc.push import credentials, keys
from sbc.push.credentials import Keyring
from sbc.push.expiry import DAY, Watch
from sbc.push.ports import PushConfiguration
from sbc.push.service import PushService
from sbc.push.settings import SECTIONS, ApnsSettings, AppSettings, FcmSettings, PushSettings
from sbc.settings import ConfigurationErrors, load
from tests.unit.push.doubles import P8, Net, account, pem, push_certificate, secret


def ring(folder: Path, *apps: AppSettings, apns: ApnsSettings | None = None, fcm: FcmSettings | None = None) -> Keyring:
    return credentials.load(
        PushSettings(credentials=str(folder)), apps, apns or ApnsSettings(), fcm or FcmSettings(), time.time()
    )


def p12(password: str = "", **certificate: object) -> bytes:
    key, made = push_certificate(**certificate)  # type: ignore[arg-type]
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"push", key, made, None, encryption)


def test_a_p12_is_found_and_says_its_own_app(tmp_path: Path) -> None:
    secret(tmp_path / "pushkit.p12", p12("geheim"))
    secret(tmp_path / "pushkit.pwd", "geheim\r\n")
    found = ring(tmp_path)
    assert found.problems == []
    app = found.find("apns", "com.example.phone")
    assert app is not None
    assert isinstance(app.credential, keys.ClientCertificate)
    assert app.credential.expires_at > time.time()
    assert found.expiries().keys() == {"com.example.phone"}
    assert found.find("apns", "com.example.other") is None


def test_the_password_may_come_from_the_settings_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    secret(tmp_path / "pushkit.com.a.p12", p12("geheim", bundle="com.a"))
    assert ring(tmp_path, apns=ApnsSettings(password="geheim")).find("apns", "com.a") is not None
    found = ring(tmp_path)
    assert found.apps == {}
    assert found.problems == [f"{tmp_path}/pushkit.com.a.p12: cannot be opened: the password is wrong or missing"]


@pytest.mark.parametrize("ending", [".pem", ".crt"])
def test_a_pem_with_its_key_in_any_order(tmp_path: Path, ending: str) -> None:
    key, made = push_certificate("com.b", uid=False)
    certificate = made.public_bytes(serialization.Encoding.PEM)
    secret(tmp_path / f"pushkit.com.b{ending}", certificate + pem(key))
    assert ring(tmp_path).find("apns", "com.b") is not None
    secret(tmp_path / f"pushkit.com.b{ending}", b"Bag Attributes\n" + pem(key) + certificate)
    assert ring(tmp_path).find("apns", "com.b") is not None
    secret(tmp_path / f"pushkit.com.b{ending}", certificate)
    assert ring(tmp_path).problems == [f"{tmp_path}/pushkit.com.b{ending}: lacks the private key"]


def test_a_key_of_another_certificate_and_an_expired_one_are_told(tmp_path: Path) -> None:
    _, made = push_certificate()
    secret(tmp_path / "pushkit.com.a.pem", made.public_bytes(serialization.Encoding.PEM) + pem(P8))
    secret(tmp_path / "pushkit.com.c.p12", p12(bundle="com.c", days=-1))
    problems = ring(tmp_path).problems
    assert "do not belong together" in problems[0]
    assert "has expired" in problems[1]


def test_a_p8_needs_its_team(tmp_path: Path) -> None:
    secret(tmp_path / "AuthKey_ABC123DEFG.p8", pem(P8))
    assert ring(tmp_path).apps == {}
    app = AppSettings(id="com.a", provider="apns", key="AuthKey_ABC123DEFG.p8", team_id="TEAM123456")
    found = ring(tmp_path, app).find("apns", "com.a")
    assert found is not None
    assert isinstance(found.credential, keys.TokenKey)
    assert (found.credential.key_id, found.credential.team_id) == ("ABC123DEFG", "TEAM123456")
    secret(tmp_path / "AuthKey_ABC123DEFG_TEAM123456.p8", pem(P8))
    assert ring(tmp_path).find("apns", "any.app") is not None


def test_fcm_files_by_name_and_by_number(tmp_path: Path) -> None:
    secret(tmp_path / "fcmkey.json", account("default"))
    secret(tmp_path / "fcmkey.com.a.json", account("proj-a"))
    secret(tmp_path / "mine.json", account("proj-m"))
    fcm = FcmSettings(app={0: "com.i", 7: "com.m"}, key={0: account("proj-i"), 7: "mine.json"})
    found = ring(tmp_path, fcm=fcm)
    assert found.problems == []

    def project(param: str) -> str:
        app = found.find("fcm", param)
        assert app is not None
        assert isinstance(app.credential, keys.ServiceAccount)
        return app.credential.project_id

    assert [project(param) for param in ("com.a", "proj-a", "com.i", "com.m", "anything")] == [
        *("proj-a", "proj-a", "proj-i", "proj-m", "default")
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("AAAAx:APA91bLegacyServerKey", "legacy FCM protocol"),
        ("{", "not JSON"),
        ("[]", "not a service account"),
        ('{"project_info": {}}', "google-services.json"),
        ('{"project_id": "p", "client_email": "e"}', "private_key is missing"),
        ('{"project_id": "p", "client_email": "e", "private_key": "x"}', "private_key that cannot be read"),
    ],
)
def test_one_clear_message_for_each_broken_file(tmp_path: Path, content: str, said: str) -> None:
    secret(tmp_path / "fcmkey.com.bad.json", content)
    secret(tmp_path / "fcmkey.com.good.json", account())
    found = ring(tmp_path)
    assert len(found.problems) == 1
    assert said in found.problems[0]
    assert "fcmkey.com.bad.json" in found.problems[0]
    assert found.find("fcm", "com.good") is not None


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret(tmp_path / "fcmkey.json", account(), mode=0o640)
    found = ring(tmp_path)
    assert found.apps == {}
    assert "can be read by others" in found.problems[0]


def test_an_app_that_names_a_missing_or_foreign_file(tmp_path: Path) -> None:
    secret(tmp_path / "c.p12", p12(bundle="com.other"))
    problems = ring(
        tmp_path,
        AppSettings(id="com.a", provider="fcm", key="none.json"),
        AppSettings(id="com.b", provider="apns", certificate="c.p12"),
    ).problems
    assert "[[push.app]] com.a: none.json cannot be read" in problems[0]
    assert "is for com.other, not for com.b" in problems[1]


def test_vapid_key(tmp_path: Path) -> None:
    secret(tmp_path / "vapid.pem", pem(P8))
    found = ring(tmp_path).find("webpush", "")
    assert found is not None
    assert isinstance(found.credential, keys.VapidKey)
    assert len(found.credential.public) == 87


def test_a_web_push_token_names_no_app(tmp_path: Path) -> None:
    secret(tmp_path / "web.pem", pem(P8))
    found = ring(tmp_path, AppSettings(id="com.example.web", provider="webpush", key="web.pem"))
    assert found.find("webpush", "") is found.announced() is found.find("webpush", "com.example.web")
    assert found.find("webpush", "com.other") is None
    assert found.find("apns", "") is None


def problems(text: str) -> str:
    with pytest.raises(ConfigurationErrors) as caught:
        load(text, SECTIONS, path="sbc.toml")
    return str(caught.value)


def test_retired_protocols_are_refused_by_name() -> None:
    assert "July 2024" in problems("[fcm]\nfcm_protocol = 0\n")
    assert "March 2021" in problems("[apns]\npushkit_protocol = 1\n")
    assert "does not reach Android" in problems("[push]\npushnotification_pushkit = 2\n")


def test_old_names_and_numbers_are_accepted() -> None:
    found = load(
        "[push]\npushnotification = -1\npushnotification_disableunreg = 1\npushnotification_clientmaxoffline = 7\n"
        "pushnotification_persists = 3\n"
        "[push.remove_on]\npushnotification_removeon_noanswer = 1\n"
        "[fcm]\nfcm_app1 = 'com.a'\nfcm_key1 = 'a.json'\nfcm_removenotification = 2\n"
        "[apns]\npushkit_serverurl_http2 = 'api.push.apple.com'\npushkit_port = 2195\n",
        SECTIONS,
        path="sbc.toml",
    )
    push = found[PushSettings]
    assert (push.enabled, push.unregister, push.client_max_offline_days) == ("auto", "ignore", 7 * 86400.0)
    assert push.resume_on_start == 3 * 86400.0
    assert found[FcmSettings].app == {1: "com.a"}
    assert found[FcmSettings].remove_notification == "always"
    assert found[ApnsSettings].url == "https://api.push.apple.com"


def test_mistakes_between_settings() -> None:
    assert "needs either a key" in problems("[[push.app]]\nid = 'a'\nprovider = 'apns'\n")
    assert "without key" in problems("[fcm]\nfcm_app3 = 'a'\n")
    assert "regular expression" in problems("[[push.app]]\nid='a'\nprovider='fcm'\nkey='k'\nuser_agent='('\n")
    assert "mailto" in problems("[webpush]\nsubject = 'ops'\n")


def test_the_end_of_a_certificate_is_told_at_30_14_7_and_1_days_once_each() -> None:
    watch, ends_at = Watch(), 100 * DAY
    told: list[tuple[float, str]] = []
    for hour in range(60 * 24, 102 * 24):
        told += [(hour / 24, text) for text in watch.due({"com.c": ends_at}, hour * 3600.0)]
    assert [100 - day for day, _ in told] == [30, 14, 7, 1, 0]
    assert told[0][1] == "com.c: the certificate expires in 30 days"
    assert told[3][1] == "com.c: the certificate expires within two days"
    assert told[4][1] == "com.c: the certificate has expired; Apple will refuse it"
    assert watch.due({"com.c": ends_at + 5 * DAY}, ends_at) != [], "another one under that name"
    assert watch.due({}, ends_at) == []
    assert watch.due({"com.c": ends_at + 5 * DAY}, ends_at) != []


def test_the_service_logs_it_before_it_happens_and_counts_the_days(tmp_path: Path) -> None:
    secret(tmp_path / "pushkit.com.c.p12", p12(bundle="com.c", days=31))
    clock, started_at = Clock(), time.time()
    net: Any = Net(lambda headers, body: None)
    service = PushService(
        clock,
        PushConfiguration(push=PushSettings(credentials=str(tmp_path))),
        now_at=lambda: started_at + clock.seconds(),
        connector=lambda *_, **guard: net,
    )
    service.startService()
    assert 30 < service.expiries()["com.c"] <= 31
    with capturedLogs() as logged:
        for _ in range(2 * 24):
            clock.advance(3600.0)
    assert [event["told"] for event in logged if "told" in event] == ["com.c: the certificate expires in 30 days"]
    service.stopService()


def test_a_certificate_that_ends_soon_is_spoken_of_but_used(tmp_path: Path) -> None:
    secret(tmp_path / "pushkit.com.c.p12", p12(bundle="com.c", days=5))
    found = ring(tmp_path)
    assert found.problems == []
    assert "expires in 5 days" in found.warnings[0]
    assert found.find("apns", "com.c") is not None
