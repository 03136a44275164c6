"""The routes of ``/api/v1``: what can be read and what can be done, as one table for a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred

from sbc.admin.accounts import account_routes
from sbc.admin.actions import action_routes
from sbc.admin.health import health_routes
from sbc.admin.openapi import describe
from sbc.admin.ports import Node
from sbc.admin.pushing import push_routes
from sbc.admin.queries import EVENTS_LIMIT, Record, events, page, plain, registrations_by_state, rfc3339, user
from sbc.admin.resources import REGISTRATIONS, RESOURCES, USERS, Resource
from sbc.admin.routes import Answer, Ask, Field, Refused, Route, as_json
from sbc.admin.routing import routing_routes
from sbc.observe.calllog import Call, CallEvent
from sbc.observe.masking import masked

API: Final = "/api/v1"

LIST_LIMIT: Final = 1000
"""Live calls answered at most; the oldest ones."""


def api_routes(node: Node, version: str) -> tuple[Route, ...]:
    """Every route of the API, ``/healthz`` and ``/metrics`` included, and the description of them all."""

    def openapi(ask: Ask) -> Answer:
        return as_json(describe(routes, version))

    routes = (
        *health_routes(node),
        *(_list_route(node, resource) for resource in RESOURCES),
        *_node_routes(node, version),
        *_call_routes(node),
        *action_routes(node),
        *account_routes(node),
        *push_routes(node),
        *routing_routes(node),
        _get("/openapi.json", "openapi", "This description", openapi, "node"),
    )
    return routes


def items(*, of: dict[str, object] | None = None) -> dict[str, object]:
    """The schema of a list."""
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": of or {"type": "object"}},
            "next": {"type": ["integer", "null"]},
        },
    }


def answering(reading: Deferred[Any]) -> Deferred[Answer]:
    """What was read, as JSON; 404 for None."""

    def shown(value: object) -> Answer:
        if value is None:
            raise Refused(404, "there is no such thing")
        return as_json(value)

    return reading.addCallback(shown)


def call_record(call: Call) -> Record:
    """A live call as JSON, with the fields of a CDR."""
    names = ("call_id", "caller", "callee", "upper", "started_at", "ringing_at", "answered_at", "pushed", "woke_after")
    return {name: plain(name, getattr(call, name)) for name in names}


def timeline(node: Node, call_id: str) -> Deferred[list[Record]]:
    """All lines of a call, written or not, oldest first; `at` still in UTC epoch seconds."""

    def whole(stored: list[Record]) -> list[Record]:
        lines = stored + [_line(line) for line in node.call_log.pending(call_id)]
        lines.sort(key=lambda line: float(line["at"]))
        return lines[:EVENTS_LIMIT]

    return node.store.report(events(call_id)).addCallback(whole)


def _line(line: CallEvent) -> Record:
    return {"at": line.at, "kind": line.kind, "detail": line.detail}


def _list_route(node: Node, resource: Resource) -> Route:
    def run(ask: Ask) -> Deferred[Answer]:
        return answering(node.store.report(page(resource, ask.query)))

    return Route(
        "GET",
        f"{API}/{resource.name}",
        f"list_{resource.name}",
        resource.doc,
        run,
        tag=resource.name,
        query=resource.query,
        answer=items(of=resource.schema),
    )


def _node_routes(node: Node, version: str) -> tuple[Route, ...]:
    def status(ask: Ask) -> Answer:
        missing = list(node.missing())
        return as_json(
            {
                "node": node.name,
                "version": version,
                "started_at": rfc3339(node.started_at),
                "ready": not missing,
                "missing": missing,
                "calls": len(node.call_log),
                "call_log_dropped": node.call_log.dropped,
                "trace": node.trace.on,
                "trace_bytes": len(node.trace),
            }
        )

    def uppers(ask: Ask) -> Answer:
        names = ("name", "uri", "domain", "priority", "weight", "state", "reason", "since_at", "round_trip")
        shown = [{name: plain(name, getattr(one, name)) for name in names} for one in node.uppers()]
        return as_json({"items": shown, "next": None})

    def settings(ask: Ask) -> Answer:
        configuration = node.configuration()
        values = configuration.shown()
        shown = [
            {
                "name": name,
                "value": values[name],
                "doc": declaration.doc,
                "kind": declaration.kind.words,
                "aliases": list(declaration.aliases),
                "restart": declaration.restart,
            }
            for name, declaration, _ in configuration.settings()
        ]
        return as_json({"items": shown, "next": None})

    def one_user(ask: Ask) -> Deferred[Answer]:
        return answering(node.store.report(user(row_id(ask))))

    def summary(ask: Ask) -> Deferred[Answer]:
        reading = node.store.report(registrations_by_state)
        return answering(reading.addCallback(lambda rows: {"items": rows, "next": None}))

    return (
        _get("/status", "status", "How this node does", status, "node"),
        _get("/uppers", "list_uppers", "Upper servers and their health", uppers, "registrations"),
        _get("/settings", "list_settings", "Settings in force, secrets masked", settings, "node"),
        _get("/users/{id}", "user", "One user with its devices, tokens and upper registrations", one_user, USERS.name),
        _get(
            "/registrations/summary",
            "summarise_registrations",
            "How many registrations each upper server has in each state; reads the whole table",
            summary,
            REGISTRATIONS.name,
        ),
    )


def _call_routes(node: Node) -> tuple[Route, ...]:
    def calls(ask: Ask) -> Answer:
        shown = [call_record(call) for call in node.call_log.live()[:LIST_LIMIT]]
        return as_json({"items": shown, "next": None})

    def call_events(ask: Ask) -> Deferred[Answer]:
        def shown(lines: list[Record]) -> dict[str, object]:
            return {"items": [{name: plain(name, value) for name, value in line.items()} for line in lines]}

        return answering(timeline(node, ask.path["call_id"]).addCallback(shown))

    def call_trace(ask: Ask) -> Answer:
        return _trace(node, ask.path["call_id"])

    def trace(ask: Ask) -> Answer:
        return _trace(node, ask.query.get("call_id"))

    return (
        _get("/calls", "list_calls", "Calls alive", calls, "calls"),
        _get(
            "/calls/{call_id}/events",
            "list_call_events",
            "The timeline of a call, alive or ended",
            call_events,
            "calls",
        ),
        _get(
            "/calls/{call_id}/trace",
            "call_trace",
            "SIP messages of a call, as far as the trace has them",
            call_trace,
            "calls",
        ),
        Route(
            "GET",
            f"{API}/trace",
            "trace",
            "The last SIP messages, oldest first; empty unless the trace is on",
            trace,
            tag="calls",
            query=(Field("call_id", "text", "only those with this Call-ID"),),
            answer=items(),
        ),
    )


def _trace(node: Node, call_id: str | None) -> Answer:
    wanted = None if call_id is None else call_id.encode("utf-8", "surrogateescape")
    shown = [
        {
            "at": rfc3339(entry.at),
            "direction": entry.direction,
            "ours": entry.ours,
            "peer": entry.peer,
            "call_id": masked(entry.call_id.decode("utf-8", "backslashreplace")),
            "summary": entry.summary,
            "message": entry.text,
        }
        for entry in node.trace.read(wanted)
    ]
    return as_json({"items": shown, "next": None})


def _get(path: str, name: str, doc: str, run: Callable[[Ask], Answer | Deferred[Answer]], tag: str) -> Route:
    return Route("GET", API + path, name, doc, run, tag=tag, answer=items() if "list" in name else {"type": "object"})


def row_id(ask: Ask) -> int:
    """The id in the path. Raises `Refused` 404 for what cannot be one."""
    text = ask.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(404, "there is no such thing")
    return int(text)
