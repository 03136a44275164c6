"""``sbcctl lab …``: the emulated push services and the sleeping phone in the foreground, to try an installation by
hand.

In: command lines. Out: what happens, line by line, until Ctrl-C. The reactor is imported only when a command runs.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from sbc.lab.speech import DIALECTS

PORTS = {"apns": 7443, "fcm": 7446, "webpush": 7448, "devices": 7440}
DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group()
def lab() -> None:
    """Emulated push services and a phone that sleeps."""


@lab.command()
@click.option("--directory", type=DIRECTORY, default=Path("lab"), show_default=True, help="Where the keys are put.")
@click.option("--bundle", default="com.example.phone", show_default=True, help="Bundle id or package of the app.")
@click.option("--apns-port", default=PORTS["apns"], show_default=True)
@click.option("--fcm-port", default=PORTS["fcm"], show_default=True)
@click.option("--webpush-port", default=PORTS["webpush"], show_default=True)
@click.option("--device-port", default=PORTS["devices"], show_default=True, help="Where phones wait for pushes.")
def providers(directory: Path, bundle: str, apns_port: int, fcm_port: int, webpush_port: int, device_port: int) -> None:
    """Apple's, Google's and a Web Push service on this machine.

    Makes a certificate authority and credentials, prints the sections to put into etc/sbc.toml, and every push."""
    from twisted.internet.task import react

    from sbc.lab.foreground import serve

    ports = (apns_port, fcm_port, webpush_port, device_port)
    react(lambda reactor: serve(reactor, directory.resolve(), bundle, ports, time.time(), click.echo), ())


@lab.command()
@click.option("--directory", type=DIRECTORY, default=Path("lab"), show_default=True, help="That of `lab providers`.")
@click.option("--proxy", default="127.0.0.1:5060", show_default=True, help="The SBC.")
@click.option("--user", required=True, help="Account at the upper server.")
@click.option("--password", envvar="LAB_PASSWORD", prompt=True, hide_input=True, help="Better in LAB_PASSWORD.")
@click.option("--domain", required=True, help="SIP domain of the account.")
@click.option("--host", default="127.0.0.3", show_default=True, help="The phone's own address.")
@click.option("--transport", type=click.Choice(["udp", "tcp"]), default="tcp", show_default=True)
@click.option("--provider", type=click.Choice(["apns", "fcm", "webpush"]), default="apns", show_default=True)
@click.option("--dialect", type=click.Choice(DIALECTS[1:]), default="x-mpush", show_default=True)
@click.option("--sleep-after", default=3.0, show_default=True, help="Seconds awake without a call.")
@click.option("--wake-delay", default=0.5, show_default=True, help="Seconds from the push to the REGISTER.")
@click.option("--answer-after", default=2.0, show_default=True, help="Seconds it rings.")
def phone(directory: Path, proxy: str, sleep_after: float, **account: Any) -> None:
    """A phone that registers, sleeps, and wakes when a push arrives."""
    from twisted.internet.task import react

    from sbc.lab.foreground import carry

    react(lambda reactor: carry(reactor, directory.resolve(), proxy, sleep_after, account, click.echo), ())


@click.command()
@click.option("--transport", type=click.Choice(["udp", "tcp"]), default="tcp", show_default=True)
@click.option("--provider", type=click.Choice(["apns", "fcm", "webpush"]), default="apns", show_default=True)
@click.option("--dialect", type=click.Choice(DIALECTS[1:]), default="x-mpush", show_default=True)
def demo(transport: str, provider: str, dialect: str) -> None:
    """One complete call to a sleeping phone, on this machine alone."""
    from sbc.lab.demo import run

    run(["--transport", transport, "--provider", provider, "--dialect", dialect])
