"""PJSIP (by pjsua2) as a phone, in a process of its own: it aborts the process that it is in now and then.

``Pjsua2`` is the tests' side. ``python -m tests.peers.pjsua2_phone JSON`` is the other: a JSON line on standard output
for each event, commands as lines on standard input: ``call URI``, ``hangup``, ``count``, ``message URI TEXT``.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from tests.peers.ports import free_port
from tests.peers.program import Program, unavailable
from tests.peers.sbc_process import ROOT

Event = dict[str, Any]


class Pjsua2:
    """A phone registered through ``proxy`` (HOST:PORT) when this returns. It answers every call at once.

    ``push``: RFC 8599 parameters of its Contact URI, without the first semicolon. ``ca_file``: whom it trusts over TLS.
    ``outbound``: its reg-id where it is to use RFC 5626, then with ``instance`` (a URN) or one of its own making.
    """

    def __init__(
        self,
        folder: Path,
        user: str,
        password: str,
        proxy: str,
        *,
        realm: str = "example.test",
        transport: str = "udp",
        host: str = "127.0.0.3",
        push: str = "",
        ca_file: Path | None = None,
        outbound: int = 0,
        instance: str = "",
        srtp: bool = False,
        interval: int = 300,
        registers: bool = True,
    ) -> None:
        if importlib.util.find_spec("pjsua2") is None:
            unavailable("not installed: pjsua2-python (make venv)")
        self.user = user
        options = {
            "user": user,
            "password": password,
            "proxy": proxy,
            "realm": realm,
            "transport": transport,
            "host": host,
            "port": free_port(),
            "media_port": free_port(4),
            "push": push,
            "ca_file": str(ca_file or ""),
            "outbound": outbound,
            "instance": instance,
            "srtp": srtp,
            "interval": interval,
        }
        self.program = Program(
            "pjsua2",
            [sys.executable, "-m", "tests.peers.pjsua2_phone", json.dumps(options)],
            folder,
            environment={"PYTHONPATH": str(ROOT)},
            stdin=True,
        )
        if registers:
            answer = self.wait("registration")
            assert answer["code"] == 200, f"{user} registers: {answer}"

    def events(self, kind: str = "") -> list[Event]:
        """Everything that happened so far, or that of one kind."""
        whole, _, _ = self.program.output().rpartition("\n")
        every = [json.loads(line) for line in whole.split("\n") if line.startswith('{"event"')]
        return [event for event in every if not kind or event["event"] == kind]

    def wait(self, kind: str, **has: object) -> Event:
        """The first event of ``kind`` with these values."""

        def found() -> Event | None:
            for event in self.events(kind):
                if all(event.get(name) == value for name, value in has.items()):
                    return event
            return None

        return self.program.wait_for(found, lambda: f"{kind} {has}; seen: {self.events()}")

    def command(self, line: str) -> None:
        stream = self.program.process.stdin
        assert stream is not None
        stream.write(line.encode() + b"\n")
        stream.flush()

    def call(self, uri: str) -> None:
        self.command(f"call {uri}")

    def hang_up(self) -> None:
        self.command("hangup")

    def hears(self) -> int:
        """Packets that have reached it in the calls it is in, as told up to now; asks again."""
        self.command("count")
        return max((event["received"] for event in self.events("count")), default=0)

    def kill(self) -> None:
        """Gone without a word."""
        self.program.kill()

    def stop(self) -> None:
        self.program.stop(1)


def main(options: dict[str, Any]) -> None:
    """The other side. One thread does everything; what is read comes to it through a queue."""
    import os
    import queue
    import threading

    import pjsua2 as pj

    kept: list[Any] = []  # freeing a pj.Call after its call aborts the process

    def say(event: str, **more: object) -> None:
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()

    class Call(pj.Call):  # type: ignore[misc]
        def onCallState(self, prm: Any) -> None:
            info = self.getInfo()
            say("call", state=info.stateText, code=info.lastStatusCode, remote=info.remoteUri)

        def onCallMediaState(self, prm: Any) -> None:
            for index, media in enumerate(self.getInfo().media):
                if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                    tone = pj.ToneGenerator()
                    tone.createToneGenerator()
                    note = pj.ToneDesc()
                    note.freq1, note.freq2, note.on_msec, note.off_msec = 700, 0, 30000, 1
                    notes = pj.ToneDescVector()
                    notes.append(note)
                    tone.play(notes, True)
                    tone.startTransmit(self.getAudioMedia(index))
                    kept.append(tone)
                    say("media", index=index)

        def onStreamDestroyed(self, prm: Any) -> None:
            statistics = self.getStreamStat(prm.streamIdx).rtcp
            received = statistics.rxStat
            say("stream", sent=statistics.txStat.pkt, received=received.pkt, lost=received.loss)

    class Account(pj.Account):  # type: ignore[misc]
        def onRegState(self, prm: Any) -> None:
            say("registration", code=prm.code, reason=prm.reason, expires=prm.expiration, text=prm.rdata.wholeMsg)

        def onIncomingCall(self, prm: Any) -> None:
            call = Call(self, prm.callId)
            kept.append(call)
            say("invite", text=prm.rdata.wholeMsg)
            answer = pj.CallOpParam(True)
            answer.statusCode = 200
            call.answer(answer)

        def onInstantMessage(self, prm: Any) -> None:
            say("message", sender=prm.fromUri, body=prm.msgBody)

        def onInstantMessageStatus(self, prm: Any) -> None:
            say("message-status", code=prm.code)

    endpoint = pj.Endpoint()
    endpoint.libCreate()
    configuration = pj.EpConfig()
    configuration.uaConfig.threadCnt = 0
    configuration.uaConfig.mainThreadOnly = True
    configuration.logConfig.level = configuration.logConfig.consoleLevel = 0
    endpoint.libInit(configuration)
    transport = pj.TransportConfig()
    transport.port, transport.boundAddress, transport.publicAddress = options["port"], options["host"], options["host"]
    transport.tlsConfig.CaListFile = options["ca_file"]
    transport.tlsConfig.verifyServer = bool(options["ca_file"])
    kinds = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
    endpoint.transportCreate(kinds[options["transport"]], transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 200 if codec.codecId.startswith("PCMU") else 0)
    account = pj.AccountConfig()
    account.idUri = f"sip:{options['user']}@{options['realm']}"
    account.regConfig.registrarUri = f"sip:{options['realm']}"
    account.regConfig.timeoutSec = options["interval"]
    account.regConfig.contactUriParams = f";{options['push']}" if options["push"] else ""
    account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", options["user"], 0, options["password"]))
    account.sipConfig.proxies.append(f"sip:{options['proxy']};transport={options['transport']};lr")
    account.natConfig.sipOutboundUse = int(bool(options["outbound"]))
    account.natConfig.sipOutboundRegId = str(options["outbound"] or "")
    account.natConfig.sipOutboundInstanceId = options["instance"]
    account.natConfig.contactRewriteUse = 0
    account.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY if options["srtp"] else pj.PJMEDIA_SRTP_DISABLED
    account.mediaConfig.srtpSecureSignaling = 0
    account.mediaConfig.transportConfig.boundAddress = options["host"]
    account.mediaConfig.transportConfig.port = options["media_port"]
    line = Account()
    line.create(account)

    commands: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for text in sys.stdin:
            commands.put(text.rstrip("\n"))

    threading.Thread(target=read, daemon=True).start()
    while True:
        endpoint.libHandleEvents(20)
        try:
            word, _, rest = commands.get_nowait().partition(" ")
        except queue.Empty:
            continue
        if word == "call":
            call = Call(line)
            kept.append(call)
            call.makeCall(rest, pj.CallOpParam(True))
        elif word == "hangup":
            endpoint.hangupAllCalls()
        elif word == "count":
            for each in kept:
                if isinstance(each, Call) and each.isActive() and each.hasMedia():
                    say("count", received=each.getStreamStat(0).rtcp.rxStat.pkt)
        elif word == "message":
            uri, _, text = rest.partition(" ")
            buddy, about = pj.Buddy(), pj.BuddyConfig()
            about.uri = uri
            buddy.create(line, about)
            kept.append(buddy)
            message = pj.SendInstantMessageParam()
            message.content = text
            buddy.sendInstantMessage(message)
        else:
            os._exit(2)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
