"""The old API in one line of text, its keys, and the commands with commas."""

from __future__ import annotations

import hashlib

import pytest
from click.testing import CliRunner

from sbc.admin.access import FAILURES
from sbc.admin.api import api_routes
from sbc.admin.client import Client
from sbc.admin.compatible import compatible_routes
from sbc.admin.console import main
from sbc.admin.keys import Keyring
from sbc.admin.pushing import summed
from sbc.admin.shared_key import WINDOW, SharedKey
from sbc.store import tables
from tests.unit.admin.browser import READER, WRITER, Browser
from tests.unit.admin.nodes import a_node
from tests.unit.admin.test_console import Line

NOW = 1_700_000_000.0
KEY = "s3cret"


@pytest.fixture
def node():
    return a_node()


@pytest.fixture
def browser(node):
    browser = Browser((*compatible_routes(node), *api_routes(node, "0.1.0")))
    browser.shared.name, browser.shared.key = "old", KEY
    return browser


def asked(browser, query, **more):
    return browser.get(f"/mvapireq/?{query}", **more)


def md5(name="old", key=KEY, salt="salt", now=int(NOW)):
    value = hashlib.md5(f"{name}:{key}:{salt}:{now}".encode()).hexdigest()
    return f"authid={name}&authmd5={value}&authsalt={salt}&now={now}"


def test_a_push_to_a_user(browser, node):
    page = asked(
        browser, f"apientry=sendpush&authkey={KEY}&type=0&from_user=alice&to_user=bob&title=T&message=hi%2C%20you&x=1"
    )
    assert (page.status, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert page.text.startswith("OK: apns accepted 200")
    [(_, request, by)] = node.actions.asked
    assert (request.type, request.to_user, request.from_user, request.message) == ("call", "bob", "alice", "hi, you")
    assert by == "old"


@pytest.mark.parametrize(("platform", "provider"), [("a", "fcm"), ("i", "apns"), ("j", "fcm"), ("w", "fcm")])
def test_a_push_to_a_token_and_the_other_spelling(browser, node, platform, provider):
    query = f"apientry=senpush&authkey={KEY}&type=custom&platform={platform}&package=com.example&to_token=a:b"
    assert asked(browser, query).text.startswith("OK")
    [(_, request, _)] = node.actions.asked
    assert (request.provider, request.app, request.token) == (provider, "com.example", "a:b")


@pytest.mark.parametrize(
    "query",
    ["type=9&to_user=bob", "type=0", "type=0&platform=x&to_user=bob", "type=0&platform=a&package=com.example"],
)
def test_what_makes_no_push(browser, node, query):
    page = asked(browser, f"apientry=sendpush&authkey={KEY}&{query}")
    assert (page.status, page.text[:7]) == (400, "ERROR, ")
    assert node.actions.asked == []


def test_a_push_that_reaches_nobody(browser, node):
    node.actions.pushed = []
    assert asked(browser, f"apientry=sendpush&authkey={KEY}&type=0&to_user=bob").text.startswith("ERROR, there is no")


def test_the_other_entries(browser, node):
    def text(name, more=""):
        return asked(browser, f"apientry={name}&authkey={KEY}{more}").text

    assert text("wsload") == "OK: WS Load: 2 type busy\n"
    assert text("pushstat").startswith("OK: providers: apns; suspended: none")
    assert text("reload") == "OK: log.level: info -> debug\n"
    assert text("upperunreg", "&to_user=bob") == "OK: 1 upper registrations ended\n"
    assert text("upperunreg", "&to_user=eve").startswith("ERROR, ")
    assert text("upperunreg").startswith("ERROR, ")
    assert text("nonsense").startswith("ERROR, there is no apientry")


def test_without_a_key_a_reader_on_this_host_may_look_and_nobody_may_act(browser, node):
    assert asked(browser, "apientry=wsload").status == 200
    assert asked(browser, "apientry=wsload", peer="192.0.2.9").status == 401
    assert asked(browser, "apientry=wsload", peer="192.0.2.9").text.startswith("ERROR, ")
    for key in (None, READER):
        assert asked(browser, "apientry=reload", key=key).text == "ERROR, authentication failed\n"
    assert asked(browser, "apientry=reload", key=WRITER).status == 200
    assert asked(browser, f"apientry=reload&authkey={WRITER}").status == 200
    assert asked(browser, f"apientry=reload&authkey={READER}").status == 401
    assert len(node.actions.asked) == 2


def test_a_page_in_a_browser_with_a_password_cannot_act(browser):
    import base64

    basic = {"Authorization": "Basic " + base64.b64encode(f"x:{WRITER}".encode()).decode()}
    assert asked(browser, "apientry=reload", headers=basic).status == 401
    assert asked(browser, "apientry=wsload", headers=basic).status == 200


def test_wrong_keys_are_counted(browser):
    for _ in range(FAILURES):
        assert asked(browser, "apientry=wsload&authkey=wrong", peer="192.0.2.9").status == 401
    assert asked(browser, f"apientry=wsload&authkey={KEY}", peer="192.0.2.9").status == 429
    assert asked(browser, f"apientry=wsload&authkey={KEY}").status == 200, "from elsewhere"


def test_a_digest_is_good_once(browser):
    assert asked(browser, f"apientry=wsload&{md5()}").status == 200
    assert asked(browser, f"apientry=wsload&{md5()}").status == 401, "replayed"
    assert asked(browser, f"apientry=wsload&{md5(salt='other')}").status == 200


@pytest.mark.parametrize(
    "query",
    [
        md5(key="guess"),
        md5(name="eve"),
        md5(salt=""),
        md5(now=int(NOW - WINDOW - 1)),
        md5(now=int(NOW + WINDOW + 1)),
        md5() + "0",
        "authmd5=&authid=old&authsalt=x&now=1",
        "authmd5=%ff%fe&authid=old&authsalt=x&now=x",
    ],
)
def test_digests_that_are_wrong_old_or_odd(browser, query):
    assert asked(browser, f"apientry=wsload&{query}").status == 401


def test_an_empty_key_opens_nothing():
    shared = SharedKey()
    assert shared.recognise({"authkey": ""}, Keyring(), NOW) is None
    said = hashlib.md5(f":::{int(NOW)}".encode()).hexdigest()
    assert shared.recognise({"authmd5": said, "now": str(int(NOW)), "authsalt": ""}, Keyring(), NOW) is None


# The modern routes


def test_what_pushes_were_worth(browser, node):
    node.store.insert(
        tables.users, {"id": 1, "username": "bob", "domain": "pbx", "upper": "pbx", "user_agent": "Phone/1"}
    )
    row = {
        "type": "call",
        "provider": "apns",
        "app": "com.example",
        "user_id": 1,
        "sent_at": 4e9,
        "outcome": "accepted",
    }
    node.store.insert(tables.pushes, *({**row, "woke_after": after} for after in (1.0, 2.0, 9.0, None)))
    [line] = browser.get("/api/v1/push/wakes").json["items"]
    assert (line["pushes"], line["accepted"], line["woke"], line["share"]) == (4, 4, 3, 0.75)
    assert (line["median"], line["user_agent"]) == (2.0, "Phone/1")
    assert 8.0 < line["p95"] < 9.0


def test_nobody_woke():
    assert summed([("a", "fcm", "", "dead_token", None)])[0]["share"] is None


def test_the_doctor_the_load_the_status(browser, node):
    assert browser.get("/api/v1/load").json == {"level": 2, "word": "busy"}
    assert browser.get("/api/v1/push/status").json["providers"] == ["apns"]
    assert browser.post("/api/v1/push/doctor", {"subject": "bob"}).status == 401
    items = browser.post("/api/v1/push/doctor", {"subject": "bob"}, key=WRITER).json["items"]
    assert items[1] == {"level": "bad", "text": "the key is gone", "advice": "make another"}
    assert browser.post("/api/v1/push/unregister", {"user": "bob"}, key=WRITER).json == {"ended": 1}
    assert browser.post("/api/v1/push/unregister", {"user": "eve"}, key=WRITER).status == 404
    assert browser.post("/api/v1/push/reload", {}, key=WRITER).json == {"lines": []}


# The console


@pytest.fixture
def run(browser, monkeypatch, tmp_path):
    monkeypatch.setattr(Client, "_connection", lambda self: Line(browser))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, list(words), env={"SBC_KEY": WRITER})


def test_commands_with_commas(run, node):
    assert "accepted" in run("sendpush,0,alice,bob,come,", "home").output
    assert "accepted" in run("sendpush,1,alice,bob,hello,Title").output
    assert "accepted" in run("sendpushu,3,-,,a%2Cb,Title,i,com.example,tok,en").output
    requests = [asked[1] for asked in node.actions.asked]
    assert [request.type for request in requests] == ["call", "chat", "custom"]
    assert requests[1].title == "Title"
    assert (requests[2].message, requests[2].provider, requests[2].token) == ("a,b", "apns", "tok,en")
    assert run("sendpush,7,alice,bob,hi").exit_code != 0
    assert "accepted" in run("sendpush,1,alice,,hi,Title,w,com.example,tok").output
    assert "accepted" in run("sendpush,1,alice,,hi,Title,j,com.example,tok").output
    browser, iphone = [asked[1] for asked in node.actions.asked][-2:]
    assert (browser.provider, browser.kind, iphone.provider, iphone.kind) == ("fcm", "browser", "fcm", "ios")
    node.actions.serving = ["apns", "webpush"]
    assert "accepted" in run("sendpush,1,alice,,hi,Title,w,web,https://push.example/x").output
    assert (node.actions.asked[-1][1].provider, node.actions.asked[-1][1].kind) == ("webpush", "")


def test_the_other_old_commands(run, node):
    assert "apns" in run("pushstat").output
    assert run("reload,rst").output.startswith("log.level: info -> debug")
    assert run("reloadfcm").exit_code == 0
    assert run("pushkitrst").exit_code == 0
    assert "ended  1" in run("upperunreg,bob").output
    assert "level  2" in run("wsload").output
    assert [asked[0] for asked in node.actions.asked] == ["reload", *["reload push"] * 3, "unregister"]


def test_the_doctor_at_the_console(run):
    lines = run("push", "doctor", "bob").output.splitlines()
    assert lines == ["ok      all is well", "WRONG   the key is gone", "        -> make another"]
    assert "app" in run("push", "wakes").output
    assert "apns" in run("push", "status").output
