"""The commands of `sbcctl` that do something; they need an API key that may write."""

from __future__ import annotations

from typing import Final

import click

from sbc.admin.client import segment
from sbc.admin.printing import inert
from sbc.admin.session import Session


@click.command()
@click.argument("call_id")
@click.pass_obj
def hangup(session: Session, call_id: str) -> None:
    """End a call."""
    session.record(session.client.ask("DELETE", f"/calls/{segment(call_id)}"))


@click.command()
@click.argument("source")
@click.pass_obj
def unban(session: Session, source: str) -> None:
    """Let a source in again."""
    session.record(session.client.ask("DELETE", f"/bans/{segment(source)}"))


@click.command()
@click.argument("what", required=False, type=click.Choice(["rst"]))
@click.pass_obj
def reload(session: Session, what: str | None) -> None:
    """Read configuration, credentials, templates and certificates again; with RST push starts anew in any case."""
    lines = session.client.ask("POST", "/reload")["lines"]
    if what:
        lines += session.client.ask("POST", "/push/reload")["lines"]
    session.lines(inert(line) for line in lines or ["nothing has changed"])


@click.group()
def push() -> None:
    """Pushes by hand."""


@push.command("send")
@click.argument("type_", metavar="TYPE", type=click.Choice(["call", "chat", "cancel", "custom", "refresh"]))
@click.option("--to", "to_user", help="The user to wake: name, or name@domain.")
@click.option("--from", "from_user", help="Who calls, as the phone shows it.")
@click.option("--title", help="The title.")
@click.option("--message", help="The text of a chat or custom push.")
@click.option(
    "--provider", type=click.Choice(["apns", "fcm", "webpush"]), help="With --app and --token instead of --to."
)
@click.option("--app", help="The app id.")
@click.option("--token", help="The push token.")
@click.pass_obj
def push_send(session: Session, /, type_: str, **given: str | None) -> None:
    """Send a push to a user's devices, or to one token."""
    body = {"type": type_} | {name: value for name, value in given.items() if value}
    answer = session.client.ask("POST", "/pushes", body=body)
    session.show(answer["items"], "outcome status reason provider app seconds")


@push.command("status")
@click.pass_obj
def push_status(session: Session) -> None:
    """Connections to the providers, apps, what is suspended, problems."""
    session.record(session.client.ask("GET", "/push/status"))


@push.command("wakes")
@click.option("--days", type=click.IntRange(1), help="Of the last so many days; 30 when not given.")
@click.pass_obj
def push_wakes(session: Session, days: int | None) -> None:
    """How many phones woke, and how fast, by app, provider and User-Agent."""
    query = {"days": days} if days else None
    columns = "app provider user_agent pushes accepted woke share median p95"
    session.show(session.client.ask("GET", "/push/wakes", query)["items"], columns)


@push.command("doctor")
@click.argument("subject", metavar="USER|APP")
@click.pass_obj
def push_doctor(session: Session, subject: str) -> None:
    """What keeps a user or an app from being woken, and what to do about it."""
    items = session.client.ask("POST", "/push/doctor", body={"subject": subject})["items"]
    if session.as_json:
        session.value(items)
        return
    marks = {"good": "ok      ", "warning": "warning ", "bad": "WRONG   "}
    for item in items:
        session.lines([marks[item["level"]] + inert(item["text"])])
        if item["advice"]:
            session.lines(["        -> " + inert(item["advice"])])


@click.group()
def trace() -> None:
    """The SIP trace in the node's memory."""


@trace.command("on")
@click.option("--call-id", help="Only this call.")
@click.pass_obj
def trace_on(session: Session, call_id: str | None) -> None:
    """Keep SIP messages from now on."""
    session.record(session.client.ask("PUT", "/trace", body={"on": True} | ({"call_id": call_id} if call_id else {})))


@trace.command("off")
@click.option("--clear", is_flag=True, help="Forget what was kept.")
@click.pass_obj
def trace_off(session: Session, clear: bool) -> None:
    """Keep no more."""
    session.record(session.client.ask("PUT", "/trace", body={"on": False, "clear": clear}))


@trace.command("show")
@click.argument("call_id", required=False)
@click.pass_obj
def trace_show(session: Session, call_id: str | None) -> None:
    """The messages of a call, or the last ones of all."""
    entries = session.client.ask("GET", "/trace", {"call_id": call_id} if call_id else None)["items"]
    if session.as_json:
        session.value(entries)
        return
    for entry in entries:
        session.lines((inert(f"{entry['at']} {entry['direction']} {entry['peer']}"),))
        session.lines("    " + inert(line) for line in entry["message"].splitlines())


@click.group("key")
def api_key() -> None:
    """API keys."""


@api_key.command("list")
@click.pass_obj
def key_list(session: Session) -> None:
    """Keys that were made."""
    session.rows("/keys", "name role created_at created_by expires_at last_used_at revoked_at", {})


@api_key.command("new")
@click.argument("name")
@click.option("--role", type=click.Choice(["read", "write"]), default="read", show_default=True)
@click.pass_obj
def key_new(session: Session, name: str, role: str) -> None:
    """Make a key; it is printed once."""
    session.record(session.client.ask("POST", "/keys", body={"name": name, "role": role}))


@api_key.command("revoke")
@click.argument("name")
@click.pass_obj
def key_revoke(session: Session, name: str) -> None:
    """Make a key useless."""
    session.record(session.client.ask("DELETE", f"/keys/{segment(name)}"))


DOING: Final[tuple[click.Command, ...]] = (hangup, unban, reload, push, trace, api_key)
"""All of them."""
