"""Relays that are programs of their own: the media process and rtpengine; and how what any relay costs is told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

#: Where relays are.
RELAY = "127.0.0.2"
#: The key of every phone that encrypts.
KEY = bytes(range(28))

Address = tuple[str, int]


class Meter:
    """Tells the parent CPU seconds when asked, from inside a relay's loop."""

    def __init__(self, orders: Connection, cpu: Callable[[], float] = time.process_time) -> None:
        self._orders = orders
        self._cpu = cpu

    def obey(self) -> bool:
        """Answer a waiting order; False when it was to end."""
        if not self._orders.poll():
            return True
        if self._orders.recv() == "end":
            return False
        self._orders.send(self._cpu())
        return True


def describe(phone: Address, encrypting: bool) -> bytes:
    host = phone[0].encode()
    body = b"v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\n" % (
        host,
        host,
        phone[1],
    )
    if not encrypting:
        return body
    return body.replace(b"RTP/AVP", b"RTP/SAVP") + b"a=crypto:2 AEAD_AES_128_GCM inline:%s\r\n" % b64encode(KEY)


def cpu_of(pid: int) -> float:
    """CPU seconds of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def worker(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    from sbc.media import control, sdp
    from sbc.media.engine import Answer, Offer
    from sbc.media.settings import MediaSettings
    from sbc.media.share import Share

    state = tempfile.mkdtemp(prefix="bench-media-")
    settings = json.dumps(control.from_settings(MediaSettings()))
    share = json.dumps(Share())
    process = subprocess.Popen([sys.executable, "-m", "sbc.media.worker", state, "python", settings, share])
    line = socket.socket(socket.AF_UNIX)
    while line.connect_ex(f"{state}/{control.SOCKET}"):
        time.sleep(0.05)
    frames = control.Frames()

    def reply_to(message: control.Message) -> control.Message:
        line.sendall(control.frame({**message, "id": 1}))
        while True:
            for reply in frames.feed(line.recv(65_536)):
                if "event" not in reply:
                    return reply

    def ask(message: control.Message) -> bytes:
        return str(reply_to(message)["sdp"]).encode()

    targets = []
    for number, (a, b) in enumerate(phones):
        host = RELAY
        offer = Offer(sdp.parse(describe(a, False)), "a", a[0], host, host)
        answer = Answer(sdp.parse(describe(b, False)), "b", b[0])
        toward_b = ask({"do": "offer", "key": str(number), **control.from_offer(offer)})
        toward_a = ask({"do": "answer", "key": str(number), **control.from_answer(answer)})
        targets.append(((RELAY, port_in(toward_a)), (RELAY, port_in(toward_b))))
    orders.send(targets)
    hello = {"do": "hello", "version": control.VERSION, "settings": control.from_settings(MediaSettings())}
    wait(orders, reply_to(hello)["pid"])
    line.close()
    process.kill()
    process.wait()


def rtpengine(phones: list[tuple[Address, Address]], orders: Connection, profile: bool) -> None:
    from sbc.media.rtpengine import bencode
    from tests.peers.rtpengine_daemon import Rtpengine

    daemon = Rtpengine(Path(tempfile.mkdtemp(prefix="bench-rtpengine-")), host=RELAY, ports=(30_000, 59_999))
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.connect(daemon.address)

    def ask(number: int, command: str, phone: Address) -> bytes:
        fields = {"command": command, "call-id": str(number), "from-tag": "a", "sdp": describe(phone, False)}
        more = {"to-tag": "b"} if command == "answer" else {}
        line.send(b"%d%s " % (number, command.encode()) + bencode.encode({**fields, **more, "ICE": "remove"}))
        reply = bencode.decode(line.recv(65_536).partition(b" ")[2])
        return bytes(reply["sdp"])

    targets = []
    for number, (a, b) in enumerate(phones):
        toward_b, toward_a = ask(number, "offer", a), ask(number, "answer", b)
        targets.append(((RELAY, port_in(toward_a)), (RELAY, port_in(toward_b))))
    orders.send(targets)
    wait(orders, daemon.program.pid)
    daemon.stop()


def wait(orders: Connection, pid: int) -> None:
    """Another program relays: only tell what it costs."""
    meter = Meter(orders, lambda: cpu_of(pid))
    while meter.obey():
        orders.poll(1.0)


def port_in(description: bytes) -> int:
    return int(description.split(b"m=audio ")[1].split()[0])
