"""The structured log: which events are written, as text or JSON lines, with secrets masked.

    observer = LogObserver(settings, sys.stdout)
    observe(application, observer)              # twistd then logs through it
    observer.configure(new_settings)            # on reload: format and levels

Everything that logs does so by `twisted.logger.Logger`; a line that concerns a call, a user or a server carries it as a
field (``call_id=…``), which the JSON form keeps as a key.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TextIO, cast

from twisted.logger import (
    ILogObserver,
    InvalidLogLevelError,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
)
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile
from zope.interface.declarations import implementer

from sbc.observe.masking import masked
from sbc.observe.settings import LogSettings

LINE_LIMIT: Final = 16_384
"""Characters of one log line's message or traceback; a peer must not fill the disk through one error."""

FIELD_LIMIT: Final = 2_048
"""Characters of one field of a JSON line."""

LEGACY: Final = frozenset(("system", "isError"))
"""Fields of Twisted's old log, which say nothing."""

FIELDS_LIMIT: Final = 32
"""Fields of a JSON line beyond the fixed ones."""

QUIET: Final[Mapping[str, str]] = {
    "twisted.names": "warn",
    "twisted.internet.protocol": "warn",
    "twisted.web.client": "warn",
    "twisted.web.server": "warn",
    "twisted.web.http": "warn",
}
"""Parts of Twisted that write a line per connection or query, unless the settings name them."""

_ORDER: Final = tuple(LogLevel.iterconstants())


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _time(event: LogEvent) -> str:
    at = datetime.fromtimestamp(float(event.get("log_time", 0.0)), UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def as_text(event: LogEvent) -> str:
    """``time [namespace#level] message``, tracebacks on the lines below; ends with a newline."""
    body = eventAsText(event, includeTimestamp=False, includeSystem=False)
    lines = "\n\t".join(masked(_cut(body, LINE_LIMIT)).splitlines())
    return f"{_time(event)} [{event.get('log_namespace', '-')}#{_level(event)}] {lines}\n"


def as_json(event: LogEvent) -> str:
    """One JSON object on one line: time, level, namespace, message, traceback, and the event's own fields."""
    line: dict[str, object] = {
        "time": _time(event),
        "level": _level(event),
        "namespace": str(event.get("log_namespace", "-")),
        "message": masked(_cut(formatEvent(event), LINE_LIMIT)),
    }
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = masked(_cut(failure.getTraceback(), LINE_LIMIT))
    for name, value in event.items():
        if len(line) >= FIELDS_LIMIT:
            break
        if not name.startswith("log_") and name not in line and name not in LEGACY and name.isidentifier():
            line[name] = _field(name, value)
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def _field(name: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = _cut(text, FIELD_LIMIT)
    if masked(f"{name}={text}") != f"{name}={text}" and masked(text) == text:
        return "***"  # the field's name says that its value is a secret
    return masked(text)


class Levels:
    """Which level a namespace needs at least: the longest dotted prefix that is named decides."""

    def __init__(self, default: str, named: Mapping[str, str]) -> None:
        self._default = self._rank(default)
        self._named = {namespace: self._rank(level) for namespace, level in named.items()}
        self._seen: dict[str, int] = {}

    @staticmethod
    def _rank(word: str) -> int:
        try:
            return _ORDER.index(LogLevel.levelWithName(word))
        except InvalidLogLevelError:
            raise ValueError(f"no such log level: {word}") from None

    def admits(self, event: LogEvent) -> bool:
        """Whether this event is important enough."""
        level = event.get("log_level")
        if level is None:
            return True
        namespace = event.get("log_namespace") or ""
        rank = self._seen.get(namespace)
        if rank is None:
            rank = self._least(namespace)
            if len(self._seen) < 1000:  # namespaces are module names: a cache, not a table of what peers send
                self._seen[namespace] = rank
        return _ORDER.index(level) >= rank

    def _least(self, namespace: str) -> int:
        while namespace:
            if namespace in self._named:
                return self._named[namespace]
            namespace = namespace.rpartition(".")[0]
        return self._default


def levels_of(settings: LogSettings) -> Levels:
    """The levels of the ``[log]`` section over the built-in `QUIET` ones."""
    named = dict(QUIET)
    for entry in settings.levels:
        namespace, _, level = entry.partition("=")
        named[namespace.strip()] = level.strip()
    return Levels(settings.level, named)


@implementer(ILogObserver)
class LogObserver:
    """Writes the events that the settings admit to `out`, masked. A full disk ends no call: its errors are dropped."""

    def __init__(self, settings: LogSettings, out: TextIO) -> None:
        self._out = out
        self.configure(settings)

    def configure(self, settings: LogSettings) -> None:
        """Take over format and levels; the file stays."""
        self._levels = levels_of(settings)
        self._form = as_json if settings.format == "json" else as_text

    def __call__(self, event: LogEvent) -> None:
        if not self._levels.admits(event):
            return
        try:
            self._out.write(self._form(event))
            self._out.flush()
        except (OSError, ValueError):
            pass  # a closed or full output: there is nowhere left to say so


def open_log(settings: LogSettings) -> TextIO | None:
    """The file of the settings, made readable for owner and group only, rotated by size; None for standard output."""
    if not settings.file:
        return None
    directory, name = os.path.split(settings.file)
    return cast(
        TextIO,
        LogFile(  # type: ignore[no-untyped-call]
            name,
            directory or ".",
            rotateLength=settings.file_bytes,
            maxRotatedFiles=settings.file_count,
            defaultMode=0o640,
        ),
    )


def log_output(settings: LogSettings, logfile: str | None, *, daemon: bool) -> TextIO:
    """Where to write: the settings' file; else what twistd was told by ``--logfile``; else standard output.

    A daemon has no standard output: like twistd itself it then writes to ``twistd.log``.
    """
    named = open_log(settings)
    if named is not None:
        return named
    if not logfile and daemon:
        logfile = "twistd.log"
    if not logfile or logfile == "-":
        return sys.stdout
    opened = open_log(replace(settings, file=logfile))
    return opened if opened is not None else sys.stdout


def observe(application: Any, observer: LogObserver) -> None:
    """Make `observer` the log of this application, as twistd looks for it; without effect on anything else.

    To be called with what a service's ``setServiceParent`` gets, which under twistd is the application. ``--logger`` on
    the command line still goes first.
    """
    if isinstance(application, Componentized):
        application.setComponent(ILogObserver, observer)  # type: ignore[no-untyped-call]
