"""`twistd sbc`: reads the configuration, starts one node, takes signals."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger
from twisted.python import usage

from sbc.assembly import Sbc
from sbc.observe.log import LogObserver, log_output
from sbc.observe.settings import LogSettings
from sbc.ownership import Estate, future_user
from sbc.push import credentials, stock
from sbc.recording import push_configuration
from sbc.sections import SECTIONS
from sbc.settings import Configuration, ConfigurationErrors, load
from sbc.store.secret import SecretError, require_private

log = Logger()

DEFAULT_PATH = "etc/sbc.toml"
"""Where the configuration is looked for when neither --config nor SBC_CONFIG names it."""


class Options(usage.Options):
    """The command line of `twistd sbc`."""

    optParameters = [["config", "c", None, "Configuration file (else SBC_CONFIG, else etc/sbc.toml, else defaults)."]]
    optFlags = [["check", None, "Check the configuration and what it names, then exit."]]

    def postOptions(self) -> None:
        """Read the configuration; with --check, say what is wrong or that nothing is, and exit."""
        try:
            self.configuration = read(self["config"])
        except ConfigurationErrors as mistakes:
            print(mistakes, file=sys.stderr)
            raise SystemExit(1) from None
        if self["check"]:
            problems = check(self.configuration)
            for problem in problems:
                print(problem, file=sys.stderr)
            if not problems:
                print(f"{configured_path(self['config']) or 'built-in defaults'}: ok")
            raise SystemExit(1 if problems else 0)


def configured_path(named: str | None) -> Path | None:
    """The configuration file to read: the one named, else SBC_CONFIG, else etc/sbc.toml if there; None: defaults."""
    chosen = named or os.environ.get("SBC_CONFIG")
    if chosen:
        return Path(chosen)
    return Path(DEFAULT_PATH) if Path(DEFAULT_PATH).exists() else None


def read(named: str | None) -> Configuration:
    """The configuration; raises ConfigurationErrors with every mistake, a file that cannot be read included."""
    path = configured_path(named)
    if path is None:
        return load("", SECTIONS, path="built-in defaults")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise usage.UsageError(f"{path}: cannot be read: {error}") from None
    configuration = load(text, SECTIONS, path=str(path))
    secrets = [name for name in configuration.secrets() if name != "database.url" or "@" in text]
    if secrets:
        try:
            require_private(path)
        except SecretError as error:
            raise usage.UsageError(f"{path}: holds {', '.join(secrets)}: {error}") from None
    return configuration


def makeService(options: Options) -> Sbc:
    """The node that the options ask for; `twistd` starts it."""
    from twisted.internet import reactor

    configuration = options.configuration
    estate = Estate(configuration)
    node = Sbc(reactor, configuration, lambda: read(options["config"]), log_observer(options))
    user = future_user(options.parent or {})
    if user is not None:
        estate.hand_over(*user)
    _Signals(node, reactor).setServiceParent(node)  # type: ignore[no-untyped-call]
    return node


def log_observer(options: Options) -> LogObserver | None:
    """The observer that the [log] section asks for; None where twistd logs to syslog or its own observer was named."""
    twistd: Any = options.parent or {}
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    settings = options.configuration[LogSettings]
    return LogObserver(settings, log_output(settings, twistd.get("logfile"), daemon=not twistd.get("nodaemon")))


def check(configuration: Configuration) -> list[str]:
    """What the configuration names but is not there or cannot be used; a line each."""
    push = push_configuration(configuration)
    templates = stock.load(push.push.credentials)
    keys = credentials.load(push.push, push.apps, push.apns, push.fcm, time.time())
    return [*templates.problems, *keys.problems]


class _Signals(Service):
    """SIGHUP reloads."""

    def __init__(self, node: Sbc, reactor: Any) -> None:
        self._node = node
        self._reactor = reactor

    def startService(self) -> None:
        """Take SIGHUP from now on."""
        super().startService()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGHUP, lambda number, frame: self._reactor.callFromThread(self._reload))
        if os.geteuid() == 0:
            log.warn("running as root: start with twistd --uid and --gid to drop it after the ports are bound")

    def _reload(self) -> None:
        self._node.operations.reload("SIGHUP").addCallbacks(
            self._tell,
            lambda failure: log.failure("the reload failed", failure),
        )

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            log.info("reload: {line}", line=line)
