"""The commands of `sbcctl` that only look."""

from __future__ import annotations

from typing import Final

import click

from sbc.admin.client import segment
from sbc.admin.session import Session, limited, options


@click.command()
@click.pass_obj
def status(session: Session) -> None:
    """How the node does."""
    session.record(session.client.ask("GET", "/status"))


@click.command()
@options("username", "domain", "upper", "state")
@limited
@click.pass_obj
def users(session: Session, /, limit: int, **query: str | None) -> None:
    """Accounts that registered."""
    session.rows("/users", "id username domain upper state has_ha1 last_seen_at user_agent", query, limit)


@click.command()
@click.argument("user_id", type=int)
@click.pass_obj
def user(session: Session, user_id: int) -> None:
    """One user with its devices, tokens and upper registrations."""
    found = session.client.ask("GET", f"/users/{user_id}")
    if session.as_json:
        session.value(found)
        return
    parts = {name: found.pop(name) for name in ("bindings", "tokens", "registrations")}
    session.record(found)
    for name, columns in (
        ("bindings", "id contact transport source state push expires_at user_agent"),
        ("tokens", "id binding_id provider param state failures pushed_at woke_at last_error"),
        ("registrations", "id upper state last_code last_reason expires_at next_at"),
    ):
        session.lines(("", name))
        session.show(parts[name], columns)


@click.command()
@options("user_id", "state", "node")
@limited
@click.pass_obj
def bindings(session: Session, /, limit: int, **query: str | None) -> None:
    """Devices."""
    session.rows("/bindings", "id user transport source state push expires_at node user_agent", query, limit)


@click.command()
@options("user_id", "provider", "param", "state")
@limited
@click.pass_obj
def tokens(session: Session, /, limit: int, **query: str | None) -> None:
    """Push tokens, without the tokens themselves."""
    session.rows("/tokens", "id user provider param environment state failures pushed_at woke_at", query, limit)


@click.command()
@options("user_id", "upper", "state")
@click.option("--summary", is_flag=True, help="Only how many there are in each state.")
@limited
@click.pass_obj
def registrations(session: Session, /, limit: int, summary: bool, **query: str | None) -> None:
    """Registrations held at the upper servers."""
    if summary:
        session.plain("/registrations/summary", "upper state count")
    else:
        session.rows("/registrations", "id user upper state last_code last_reason next_at failures", query, limit)


@click.command()
@click.pass_obj
def uppers(session: Session) -> None:
    """Upper servers and their health."""
    session.plain("/uppers", "name uri domain priority weight state reason")


@click.command()
@click.argument("called")
@options("caller", "method", "domain", "source")
@click.option("--in", "arriving", is_flag=True, help="As if an upper server sent it.")
@click.option("--when", help='A local time like "fri 23:15"; now when not given.')
@click.pass_obj
def route(session: Session, /, called: str, arriving: bool, **query: str | None) -> None:
    """Where a request to CALLED would go, and why; nothing is sent."""
    asked = {name: value for name, value in query.items() if value}
    found = session.client.ask(
        "GET", "/routing/dry-run", asked | {"called": called, "direction": "in" if arriving else "out"}
    )
    if session.as_json:
        session.value(found)
        return
    session.show(found["rules"], "name fits why does captures caller_captures")
    session.lines(("",))
    session.show(found["servers"], "place name why state calls answer_ratio failure_ratio post_dial_delay")
    session.lines(("",))
    session.record(found["outcome"] | ({"missing": found["missing"]} if found["missing"] else {}))


@click.command()
@click.pass_obj
def calls(session: Session) -> None:
    """Calls alive."""
    session.plain("/calls", "started_at caller callee upper ringing_at answered_at pushed call_id")


@click.command()
@options("call_id", "caller", "callee", "upper", "code", "since", "until")
@limited
@click.pass_obj
def cdr(session: Session, /, limit: int, **query: str | None) -> None:
    """Calls that ended, newest first."""
    columns = "id started_at caller callee upper code reason ended_by pushed woke_after caller_packets caller_lost"
    columns += " caller_jitter callee_packets callee_lost callee_jitter call_id"
    session.rows("/cdrs", columns, query, limit)


@click.command()
@click.argument("call_id")
@click.pass_obj
def timeline(session: Session, call_id: str) -> None:
    """What happened to a call, line by line."""
    session.plain(f"/calls/{segment(call_id)}/events", "at kind detail")


@click.command()
@options("call_id", "user_id", "provider", "app", "type", "outcome", "since", "until")
@limited
@click.pass_obj
def pushes(session: Session, /, limit: int, **query: str | None) -> None:
    """Pushes that were sent or tried, newest first."""
    session.rows("/pushes", "id sent_at type provider app user outcome status reason latency woke_after", query, limit)


@click.command()
@limited
@click.pass_obj
def bans(session: Session, limit: int) -> None:
    """Sources that are not answered."""
    session.rows("/bans", "source reason automatic created_at expires_at created_by", {}, limit)


@click.command()
@click.argument("prefix", default="")
@click.pass_obj
def settings(session: Session, prefix: str) -> None:
    """Settings in force; those that begin with PREFIX where one is given."""
    found = session.client.ask("GET", "/settings")["items"]
    session.show([one for one in found if one["name"].startswith(prefix)], "name value doc")


LOOKING: Final = (
    status,
    users,
    user,
    bindings,
    tokens,
    registrations,
    uppers,
    route,
    calls,
    cdr,
    timeline,
    pushes,
    bans,
    settings,
)
"""All of them."""
