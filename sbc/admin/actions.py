"""The routes that do something. Each needs a key that may write; how it is done is for `ports.Actions`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred

from sbc.admin.keys import KEY_BYTES, ApiKey, digest, make_key
from sbc.admin.ports import Node, PushAnswer, PushRequest
from sbc.admin.routes import Answer, Ask, Field, Refused, Route, as_json
from sbc.observe.masking import masked

API: Final = "/api/v1"

PUSH_FIELDS: Final = (
    Field("type", "text", "what kind of push", required=True, words=("call", "chat", "cancel", "custom", "refresh")),
    Field("to_user", "text", "the user to wake: name, or name@domain", most=255),
    Field("from_user", "text", "who calls, as the phone will show it", most=255),
    Field("title", "text", "the title, else made from from_user", most=255),
    Field("message", "text", "the text of a chat or custom push"),
    Field("provider", "text", "with app and token instead of to_user", words=("apns", "fcm", "webpush")),
    Field("app", "text", "the app id: bundle, package or project", most=255),
    Field("token", "text", "the push token"),
    Field("kind", "text", "what an FCM token is for", words=("android", "ios", "browser")),
)


def action_routes(node: Node, random: Callable[[int], bytes] = secrets.token_bytes) -> tuple[Route, ...]:
    """The routes of a node's actions."""

    def reload(ask: Ask) -> Deferred[Answer]:
        return node.actions.reload(ask.caller.name).addCallback(lambda lines: as_json({"lines": list(lines)}))

    def send_push(ask: Ask) -> Deferred[Answer]:
        request = PushRequest(**ask.body)
        if not request.to_user and not (request.provider and request.app and request.token):
            raise Refused(400, "say to_user, or provider, app and token")
        return node.actions.send_push(request, ask.caller.name).addCallback(_pushed)

    def end_call(ask: Ask) -> Deferred[Answer]:
        def ended(count: int) -> Answer:
            if not count:
                raise Refused(404, "no call with this Call-ID is alive on this node")
            return as_json({"ended": count})

        return node.actions.end_call(ask.path["call_id"], ask.caller.name).addCallback(ended)

    def lift_ban(ask: Ask) -> Deferred[Answer]:
        def lifted(was: bool) -> Answer:
            if not was:
                raise Refused(404, "this source is not banned")
            return as_json({"lifted": True})

        return node.actions.lift_ban(ask.path["source"], ask.caller.name).addCallback(lifted)

    def trace(ask: Ask) -> Answer:
        if ask.body["on"]:
            call_id = ask.body.get("call_id")
            node.trace.start(call_id.encode("utf-8", "surrogateescape") if call_id else None)
        else:
            node.trace.stop()
            if ask.body.get("clear"):
                node.trace.clear()
        return as_json({"trace": node.trace.on})

    def new_key(ask: Ask) -> Deferred[Answer]:
        key = make_key(random(KEY_BYTES))
        made = ApiKey(ask.body["name"], digest(key), ask.body.get("role", "read"), ask.body.get("expires_at"))
        adding = node.actions.add_key(made, ask.caller.name)
        return adding.addCallback(lambda _: as_json({"name": made.name, "role": made.role, "key": key}))

    def revoke_key(ask: Ask) -> Deferred[Answer]:
        def revoked(was: bool) -> Answer:
            if not was:
                raise Refused(404, "there is no such key")
            return as_json({"revoked": True})

        return node.actions.revoke_key(ask.path["name"], ask.caller.name).addCallback(revoked)

    return (
        _do(
            "POST",
            "/reload",
            "reload",
            "Read configuration, credentials, templates and certificates again",
            reload,
            "node",
        ),
        _do(
            "POST",
            "/pushes",
            "send_push",
            "Send a push to a user's devices or to one token",
            send_push,
            "pushes",
            PUSH_FIELDS,
        ),
        _do("DELETE", "/calls/{call_id}", "end_call", "Hang up a call", end_call, "calls"),
        _do("DELETE", "/bans/{source}", "lift_ban", "Let a source in again", lift_ban, "bans"),
        _do(
            "PUT",
            "/trace",
            "set_trace",
            "Switch the SIP trace on or off",
            trace,
            "calls",
            (
                Field("on", "flag", "keep SIP messages from now on", required=True),
                Field("call_id", "text", "only those with this Call-ID"),
                Field("clear", "flag", "with on = false: forget what was kept"),
            ),
        ),
        _do(
            "POST",
            "/keys",
            "new_key",
            "Make an API key; it is shown in this answer and never again",
            new_key,
            "keys",
            (
                Field("name", "text", "what it is for; unique", required=True, most=64),
                Field("role", "text", "read when not given", words=("read", "write")),
                Field("expires_at", "number", "UTC epoch seconds; never when not given", least=1),
            ),
        ),
        _do("DELETE", "/keys/{name}", "revoke_key", "Make an API key useless", revoke_key, "keys"),
    )


def _pushed(answers: Sequence[PushAnswer]) -> Answer:
    if not answers:
        raise Refused(404, "there is no device that a push could wake")
    names = ("outcome", "status", "reason", "provider", "app", "push_id", "seconds")
    return as_json({"items": [{name: _clean(getattr(one, name)) for name in names} for one in answers]})


def _clean(value: object) -> object:
    return masked(value) if isinstance(value, str) else value


def _do(
    method: Any,
    path: str,
    name: str,
    doc: str,
    run: Callable[[Ask], Answer | Deferred[Answer]],
    tag: str,
    body: tuple[Field, ...] = (),
) -> Route:
    return Route(method, API + path, name, doc, run, need="write", tag=tag, body=body, answer={"type": "object"})
