"""The compatible API: ``GET /mvapireq/?apientry=…``, answered in one line of text that begins with OK or ERROR.

Parameters that are not known are ignored, as old clients send many. Who may use it is in `shared_key`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from sbc.admin.ports import Node, PushAnswer, PushRequest
from sbc.admin.routes import Answer, Ask, Refused, Route
from sbc.observe.load import WORDS
from sbc.observe.masking import masked
from sbc.push.tokens import ANDROID, BROWSER, IOS

TYPES: Final = ("call", "chat", "cancel", "custom", "refresh")
"""The numbers of old clients, in their order."""

PLATFORMS: Final = {"a": "fcm", "i": "apns", "j": "fcm", "w": "fcm"}
"""Their letters; ``w`` is Web Push where that is on."""

KINDS: Final = {"a": ANDROID, "j": IOS, "w": BROWSER}
"""What a token of Google's is for, by letter: its message has that platform's part alone."""

WRITING: Final = ("sendpush", "senpush", "upperunreg", "reload")

Line = str | Deferred[str]


def compatible_routes(node: Node) -> tuple[Route, ...]:
    """The one route."""

    def send(query: Mapping[str, str], by: str) -> Line:
        return node.actions.send_push(push_request(query, _webpush(node)), by).addCallback(_sent)

    def unregister(query: Mapping[str, str], by: str) -> Line:
        user = query.get("to_user") or query.get("user") or query.get("username") or ""
        if not user:
            raise Refused(400, "to_user is missing")
        ending = node.actions.unregister_upper(user, by)
        return ending.addCallback(lambda count: f"OK: {count} upper registrations ended" if count else _none(user))

    def load(query: Mapping[str, str], by: str) -> Line:
        level = node.actions.load()
        return f"OK: WS Load: {level} type {WORDS[level]}"

    def status(query: Mapping[str, str], by: str) -> Line:
        return "OK: " + told(node.actions.push_status())

    def reload(query: Mapping[str, str], by: str) -> Line:
        return node.actions.reload(by).addCallback(lambda lines: "OK: " + "; ".join(lines))

    entries: dict[str, Callable[[Mapping[str, str], str], Line]] = {
        "sendpush": send,
        "senpush": send,
        "upperunreg": unregister,
        "wsload": load,
        "pushstat": status,
        "reload": reload,
    }

    def run(ask: Ask) -> Deferred[Answer]:
        name = ask.query.get("apientry", "").lower()
        entry = entries.get(name)
        try:
            if entry is None:
                raise Refused(404, f"there is no apientry {name[:40]!r}; there are {', '.join(entries)}")
            if name in WRITING and ask.caller.role != "write":
                raise Refused(401, "authentication failed")
            line = entry(ask.query, ask.caller.name)
        except Refused as error:
            return succeed(_text(f"ERROR, {error.reason}", error.status))
        answered = line if isinstance(line, Deferred) else succeed(line)
        return answered.addCallbacks(_text, _failed)

    return (
        Route("GET", "/mvapireq/", "mvapireq", "The compatible API", run, tag="node", open_query=True, hidden=True),
    )


def push_request(query: Mapping[str, str], webpush: bool) -> PushRequest:
    """What the parameters ask for. Raises `Refused` 400."""
    said = query.get("type", "").lower()
    kind = TYPES[int(said)] if said in ("0", "1", "2", "3", "4") else said
    if kind not in TYPES:
        raise Refused(400, f"type must be 0 to 4, or one of {', '.join(TYPES)}")
    platform = query.get("platform", "").lower()
    if platform and platform not in PLATFORMS:
        raise Refused(400, "platform must be a, i, j or w")
    provider = "webpush" if platform == "w" and webpush else PLATFORMS.get(platform, "")
    request = PushRequest(
        type=kind,
        to_user=query.get("to_user", ""),
        from_user=query.get("from_user", ""),
        title=query.get("title", ""),
        message=query.get("message", ""),
        provider=provider,
        app=query.get("package", ""),
        token=query.get("to_token", ""),
        kind=KINDS.get(platform, "") if provider == "fcm" else "",
    )
    if not request.to_user and not (request.provider and request.app and request.token):
        raise Refused(400, "say to_user, or platform, package and to_token")
    return request


def told(status: Mapping[str, object]) -> str:
    """The status of push in one line."""
    return "; ".join(
        f"{name}: {', '.join(map(str, value)) or 'none'}" if isinstance(value, list | tuple) else f"{name}: {value}"
        for name, value in status.items()
        if name != "connections"
    )


def _webpush(node: Node) -> bool:
    return node.configuration().shown().get("push.webpush") == "on"


def _sent(answers: Sequence[PushAnswer]) -> str:
    if not answers:
        raise Refused(404, "there is no device that a push could wake")
    words = [f"{one.provider} {one.outcome} {one.status or ''} {masked(one.reason)}".rstrip() for one in answers]
    if any(one.outcome == "accepted" for one in answers):
        return "OK: " + "; ".join(words)
    raise Refused(502, "; ".join(words))


def _none(user: str) -> str:
    raise Refused(404, f"{user} is registered at no upper server")


def _failed(failure: Failure) -> Answer:
    refused: type[Exception] | None = failure.check(Refused)  # type: ignore[no-untyped-call]
    if refused is None:
        failure.raiseException()
    assert isinstance(failure.value, Refused)
    return _text(f"ERROR, {failure.value.reason}", failure.value.status)


def _text(line: str, status: int = 200) -> Answer:
    return Answer(line.replace("\n", " ").encode() + b"\n", "text/plain; charset=utf-8", status)
