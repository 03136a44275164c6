"""Commands under the names that older consoles know, with commas or without: `sendpush,TYPE,FROM,TO,MSG`."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import click

from sbc.admin.compatible import TYPES, push_request
from sbc.admin.printing import inert
from sbc.admin.routes import Refused
from sbc.admin.session import Session

FIELDS: Final = ("type", "from_user", "to_user", "message", "title", "platform", "package", "to_token")
"""In the order in which `sendpush` takes them; a token may hold commas."""


def _send(session: Session, words: tuple[str, ...]) -> None:
    given = dict(zip(FIELDS, (*words[: len(FIELDS) - 1], ",".join(words[len(FIELDS) - 1 :])), strict=False))
    # Whether a browser is reached by Web Push is a setting of the node.
    browser = given.get("platform", "").lower() == "w"
    webpush = browser and "webpush" in session.client.ask("GET", "/push/status")["providers"]
    try:
        asked = push_request(given, webpush=webpush)
    except Refused as error:
        raise click.UsageError(error.reason) from None
    names = ("type", "to_user", "from_user", "title", "message", "provider", "app", "token", "kind")
    body = {name: getattr(asked, name) for name in names if getattr(asked, name)}
    items = session.client.ask("POST", "/pushes", body=body)["items"]
    session.show(items, "outcome status reason provider app seconds")


@click.command(help=f"Send a push: TYPE (0 to 4, or {', '.join(TYPES)}) FROM TO MSG [TITLE PLATFORM PACKAGE TOKEN].")
@click.argument("words", nargs=-1, required=True)
@click.pass_obj
def sendpush(session: Session, words: tuple[str, ...]) -> None:
    """See its help."""
    _send(session, words)


@click.command(help="The same as sendpush with every word escaped as in an address (%2C is a comma).")
@click.argument("words", nargs=-1, required=True)
@click.pass_obj
def sendpushu(session: Session, words: tuple[str, ...]) -> None:
    """See its help."""
    _send(session, tuple(unquote(word) for word in words))


@click.command()
@click.pass_obj
def pushstat(session: Session) -> None:
    """What push does: connections, apps, what is suspended, problems."""
    session.record(session.client.ask("GET", "/push/status"))


def _reload(session: Session, done: str, **body: object) -> None:
    lines: Any = session.client.ask("POST", "/push/reload", body=body)["lines"]
    session.lines(inert(line) for line in lines or [done])


@click.command()
@click.pass_obj
def reloadfcm(session: Session) -> None:
    """Read the credentials and templates of push again; connections whose credentials are the same stay open."""
    _reload(session, "credentials and templates are read")


@click.command()
@click.pass_obj
def pushkitrst(session: Session) -> None:
    """Read the credentials and templates of push again, and connect anew to Apple."""
    _reload(session, "credentials and templates are read, connections to Apple made anew", anew="apns")


@click.command()
@click.argument("user")
@click.pass_obj
def upperunreg(session: Session, user: str) -> None:
    """End a user's registrations at the upper servers."""
    session.record(session.client.ask("POST", "/push/unregister", body={"user": user}))


@click.command()
@click.pass_obj
def wsload(session: Session) -> None:
    """How busy the node is: 0 low to 4 extreme."""
    session.record(session.client.ask("GET", "/load"))


OLDER: Final[tuple[click.Command, ...]] = (sendpush, sendpushu, pushstat, reloadfcm, pushkitrst, upperunreg, wsload)
"""All of them."""
