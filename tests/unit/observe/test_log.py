"""Log lines: what is written, in which form, without secrets."""

import io
import json
import sys

import pytest
from twisted.application.service import Application
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure

from sbc.observe.log import LogObserver, as_json, as_text, levels_of, log_output, observe, open_log
from sbc.observe.settings import LogSettings
from sbc.settings import ConfigurationErrors, load


def event(text, level=LogLevel.info, namespace="sbc.proxy", **fields):
    return {"log_format": text, "log_level": level, "log_namespace": namespace, "log_time": 1_700_000_000.5, **fields}


def test_text():
    line = as_text(event("call {call_id} ended", call_id="c1"))
    assert line == "2023-11-14T22:13:20.500Z [sbc.proxy#info] call c1 ended\n"


def test_json_keeps_the_fields():
    line = as_json(event("push of {call_id} failed", LogLevel.warn, call_id="c1", status=410, peer=b"127.0.0.1"))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.500Z",
        "level": "warn",
        "namespace": "sbc.proxy",
        "message": "push of c1 failed",
        "call_id": "c1",
        "status": 410,
        "peer": "127.0.0.1",
    }


def test_no_form_shows_a_secret():
    secret = "0123456789abcdef"
    try:
        raise ValueError(f"X-PIID: {secret}")
    except ValueError:
        failure = Failure()
    said = event(
        "got {header} for {token}", header=f"Authorization: {secret}", token=secret, ha1=secret, log_failure=failure
    )
    said["log_format"] = "got {header}"
    for form in (as_text, as_json):
        line = form(said)
        assert secret not in line
        assert "ValueError" in line


def test_one_event_cannot_forge_a_line_of_another():
    line = as_text(event("from {name}", name="x\n2023-11-14T22:13:20.500Z [sbc#critical] all is lost"))
    assert all(part.startswith("\t") for part in line.splitlines()[1:])
    assert as_json(event("{name}", name="a\nb")).count("\n") == 1


def test_levels_by_the_longest_prefix():
    levels = levels_of(LogSettings(level="warn", levels=("sbc.push=debug", "sbc.push.http2=error")))
    assert not levels.admits(event("", LogLevel.info, "sbc.proxy"))
    assert levels.admits(event("", LogLevel.debug, "sbc.push.service"))
    assert not levels.admits(event("", LogLevel.warn, "sbc.push.http2"))
    assert levels.admits(event("", LogLevel.critical, "sbc.pushy"))
    assert not levels_of(LogSettings()).admits(event("", LogLevel.info, "twisted.names.dns"))
    assert levels_of(LogSettings(levels=("twisted.names=info",))).admits(event("", LogLevel.info, "twisted.names.dns"))


def test_the_observer_obeys_a_reload_and_outlives_a_full_disk():
    out = io.StringIO()
    observer = LogObserver(LogSettings(), out)
    log = Logger("sbc.test", observer=observer)
    log.debug("unheard")
    log.info("heard")
    assert "unheard" not in out.getvalue()
    observer.configure(LogSettings(level="debug", format="json"))
    log.debug("now {what}", what="heard")
    assert json.loads(out.getvalue().splitlines()[-1])["what"] == "heard"
    out.close()
    log.info("nowhere")


def test_twistd_finds_the_observer_on_the_application():
    application = Application("sbc")
    observer = LogObserver(LogSettings(), io.StringIO())
    observe(application, observer)
    assert application.getComponent(ILogObserver) is observer
    observe(object(), observer)


def test_the_file_is_not_for_everybody(tmp_path):
    path = tmp_path / "sbc.log"
    out = open_log(LogSettings(file=str(path)))
    LogObserver(LogSettings(), out)(event("täst"))
    out.close()
    assert "täst" in path.read_text()
    assert path.stat().st_mode & 0o007 == 0
    assert open_log(LogSettings()) is None


def test_where_the_log_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert log_output(LogSettings(), None, daemon=False) is sys.stdout
    assert log_output(LogSettings(), "-", daemon=True) is sys.stdout
    for settings, logfile, daemon, name in (
        (LogSettings(), None, True, "twistd.log"),
        (LogSettings(), "told.log", False, "told.log"),
        (LogSettings(file="own.log"), "told.log", True, "own.log"),
    ):
        out = log_output(settings, logfile, daemon=daemon)
        out.write(name)
        out.close()
        assert (tmp_path / name).read_text() == name


def test_settings_are_checked():
    text = '[log]\nlevels = ["sbc.push=debug", "nonsense"]\n'
    with pytest.raises(ConfigurationErrors, match="nonsense"):
        load(text, [LogSettings], path="sbc.toml")
    assert load('[log]\nformat = "json"\n', [LogSettings], path="sbc.toml")[LogSettings].format == "json"
