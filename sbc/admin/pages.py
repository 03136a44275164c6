"""The web pages: HTML from templates in `templates/`, for reading only.

Jinja2 escapes every value; there is no script on any page and the content security policy allows none, so that whatever
a phone calls itself stays text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from twisted.internet.defer import Deferred

from sbc.admin.api import call_record, row_id, timeline
from sbc.admin.ladder import from_events, from_trace
from sbc.admin.ports import Node
from sbc.admin.queries import Record, one, page, plain, rfc3339, user
from sbc.admin.resources import BANS, BINDINGS, CDRS, PUSHES, REGISTRATIONS, USERS, Resource
from sbc.admin.routes import Answer, Ask, Field, Refused, Route
from sbc.observe.metrics import Reading

HERE: Final = Path(__file__).parent

HTML: Final = "text/html; charset=utf-8"

ROWS: Final = 100
"""Rows of a table on a page."""

REFRESH: Final = 5
"""Seconds after which a page of what happens now is loaded again."""

LISTS: Final[Mapping[str, tuple[str, Resource]]] = {
    "users": ("Users", USERS),
    "bindings": ("Devices", BINDINGS),
    "registrar": ("Upper registrations", REGISTRATIONS),
    "pushes": ("Pushes", PUSHES),
    "cdrs": ("Calls that ended", CDRS),
    "bans": ("Bans", BANS),
}
"""Pages that are one table: by path, with title and resource."""


def environment() -> Environment:
    """The templates: every value is escaped, and a name that is missing is an error rather than nothing."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["path"] = lambda text: quote(str(text), safe="")
    return made


def page_routes(node: Node, version: str) -> tuple[Route, ...]:
    """The pages of a node and their style sheet."""
    templates = environment()

    def show(template: str, **values: object) -> Answer:
        text = templates.get_template(template).render(node=node, version=version, menu=LISTS, **values)
        return Answer(text.encode("utf-8", "replace"), HTML)

    def dashboard(ask: Ask) -> Deferred[Answer]:
        def shown(recent: dict[str, object]) -> Answer:
            return show(
                "dashboard.html",
                refresh=REFRESH,
                missing=list(node.missing()),
                started=rfc3339(node.started_at),
                uppers=node.uppers(),
                bindings=_counted(node.bindings()),
                registrations=_counted(node.registrations()),
                calls=[call_record(call) for call in node.call_log.live()[:ROWS]],
                count=len(node.call_log),
                recent=recent["items"],
            )

        return node.store.report(page(CDRS, {"limit": 10})).addCallback(shown)

    def calls(ask: Ask) -> Answer:
        live = [call_record(call) for call in node.call_log.live()[:ROWS]]
        return show("calls.html", refresh=REFRESH, calls=live, count=len(node.call_log))

    def table(name: str) -> Callable[[Ask], Deferred[Answer]]:
        title, resource = LISTS[name]

        def run(ask: Ask) -> Deferred[Answer]:
            given = {key: value for key, value in ask.query.items() if value not in ("", None)}

            def shown(found: dict[str, object]) -> Answer:
                more = f"?{urlencode(given | {'after': found['next']})}" if found["next"] is not None else ""
                return show(
                    "table.html", title=title, resource=resource, rows=found["items"], given=given, more=more, name=name
                )

            return node.store.report(page(resource, {"limit": ROWS} | _read(resource, given))).addCallback(shown)

        return run

    def one_user(ask: Ask) -> Deferred[Answer]:
        def shown(found: Record | None) -> Answer:
            if found is None:
                raise Refused(404, "there is no such user")
            return show("user.html", user=found, parts=(BINDINGS, REGISTRATIONS))

        return node.store.report(user(row_id(ask))).addCallback(shown)

    def one_cdr(ask: Ask) -> Deferred[Answer]:
        def found(cdr: Record | None) -> Deferred[Answer]:
            if cdr is None:
                raise Refused(404, "there is no such call")
            return _call(cdr["call_id"], cdr)

        return node.store.report(one(CDRS, row_id(ask))).addCallback(found)

    def live_call(ask: Ask) -> Deferred[Answer]:
        call_id = ask.path["call_id"]
        live = [call for call in node.call_log.live() if call.call_id == call_id]
        return _call(call_id, call_record(live[0]) if live else {"call_id": call_id})

    def _call(call_id: str, record: Record) -> Deferred[Answer]:
        def shown(lines: list[Record]) -> Answer:
            entries = node.trace.read(call_id.encode("utf-8", "surrogateescape"))
            ladder = from_trace(entries) if entries else from_events(lines)
            dated = [{name: plain(name, value) for name, value in line.items()} for line in lines]
            return show("call.html", call=record, lines=dated, ladder=ladder, entries=entries)

        return timeline(node, call_id).addCallback(shown)

    def style(ask: Ask) -> Answer:
        return Answer((HERE / "static" / "style.css").read_bytes(), "text/css; charset=utf-8")

    return (
        _page("/", "dashboard", dashboard),
        _page("/calls", "calls", calls),
        _page("/calls/{call_id}", "live_call", live_call),
        *(_page(f"/{name}", name, table(name), _text_fields(LISTS[name][1])) for name in LISTS),
        _page("/users/{id}", "user", one_user),
        _page("/cdrs/{id}", "cdr", one_cdr),
        _page("/static/style.css", "style", style),
    )


def _counted(reading: Reading) -> list[tuple[str, float]]:
    """A gauge's numbers with the words of their labels."""
    if not isinstance(reading, Mapping):
        return [("", reading)]
    words = {labels: " ".join(str(label) for label in labels) for labels in reading}
    return sorted((words[labels], number) for labels, number in reading.items())


def _page(
    path: str, name: str, run: Callable[[Ask], Answer | Deferred[Answer]], query: tuple[Field, ...] = ()
) -> Route:
    return Route("GET", path, f"page_{name}", "", run, query=query, content_type=HTML, hidden=True)


def _text_fields(resource: Resource) -> tuple[Field, ...]:
    """The parameters of a list as a form sends them: an empty one means nothing, so all are texts at first."""
    return tuple(Field(field.name, "text", field.doc) for field in resource.query)


def _read(resource: Resource, given: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name: field for field in resource.query}
    return {name: known[name].read(value) for name, value in given.items()}
