"""`sbcctl`: the console of a node. Every command is a request to the HTTP API.

The commands are in `looking` and `doing`. Other parts of the product add theirs by an entry point in the group
`COMMANDS`; they are imported only when they are called.
"""

from __future__ import annotations

import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import click

from sbc.admin.accounts import ha1_command
from sbc.admin.client import ApiError, Client
from sbc.admin.doing import DOING
from sbc.admin.keyfile import read_key
from sbc.admin.looking import LOOKING
from sbc.admin.older import OLDER
from sbc.admin.printing import inert
from sbc.admin.session import Session

COMMANDS: Final = "sbc.commands"
"""The group of entry points whose click commands appear in `sbcctl` under the entry point's name."""


class Console(click.Group):
    """The commands below, and those that entry points add."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(point.name for point in entry_points(group=COMMANDS))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for point in entry_points(group=COMMANDS, name=cmd_name):
            added = point.load()
            if isinstance(added, click.Command):
                return added
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Commands with commas, as older consoles took them: ``sendpush,0,alice,bob,hello``."""
        if args and "," in args[0]:
            args = [part.strip() for part in " ".join(args).split(",")]
            # What begins with a dash is a value there, never an option.
            args = [args[0], "--", *args[1:]]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ApiError as error:
            hint = "; give --key or --key-file" if error.status == 401 else ""
            raise click.ClickException(inert(f"{error}{hint}")) from None


@click.group(cls=Console)
@click.option("--url", envvar="SBC_URL", default="http://127.0.0.1:8080", show_default=True, help="The node's API.")
@click.option("--key", envvar="SBC_KEY", default="", help="API key; better in SBC_KEY than in the process list.")
@click.option(
    "--key-file", envvar="SBC_KEY_FILE", default="var/admin.key", show_default=True, help="File with the key."
)
@click.option("--ca", envvar="SBC_CA", default="", help="PEM file to verify an https node against.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_context
def main(ctx: click.Context, url: str, key: str, key_file: str, ca: str, as_json: bool) -> None:
    """Look at an SBC node and steer it."""
    if isinstance(ctx.obj, Session):
        return  # a line typed at the prompt: the session is there
    try:
        ctx.obj = Session(Client(url, key or _key(key_file), ca), as_json)
    except ApiError as error:
        raise click.UsageError(str(error)) from None


def _key(path: str) -> str:
    try:
        return read_key(Path(path))
    except PermissionError as error:
        # Not ours to read is common (another user runs the node); too open is worth a word.
        if "readable by others" in str(error):
            raise click.ClickException(str(error)) from None
        return ""
    except OSError:
        return ""


for each in (*LOOKING, *DOING, ha1_command, *OLDER):
    main.add_command(each)


@main.command()
@click.pass_context
def console(ctx: click.Context) -> None:
    """A prompt for these commands; leave it with an empty line's end-of-file or "quit"."""
    while True:
        try:
            words = shlex.split(input("sbc> "))
        except EOFError:
            click.echo()
            return
        except ValueError as error:
            click.echo(str(error), err=True)
            continue
        if words in (["quit"], ["exit"]):
            return
        if words:
            _typed(words, ctx.obj)


def _typed(words: list[str], session: Session) -> None:
    """Run one typed line; whatever it says, the prompt goes on."""
    try:
        main.main(args=words, prog_name="sbc>", obj=session, standalone_mode=False)
    except click.ClickException as error:
        error.show()
    except (click.exceptions.Exit, click.Abort, SystemExit):
        pass  # commands of other rooms may end as programs do
