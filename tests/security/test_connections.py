"""Connections that are slow, many, of another protocol, or WebSockets of nobody we serve."""

from __future__ import annotations

import base64
import os

from twisted.internet.defer import inlineCallbacks

from sbc.lab.border import free_port
from sbc.lab.world import BORDER
from tests.flow.scene import pause, until
from tests.security.hostile import FULL, Hostile

QUICK = 'first_message = "4s"\npartial_message = "4s"'


class Connections(Hostile):
    @inlineCallbacks
    def beside(self, **more):
        """An SBC with a WebSocket listener too."""
        self.ws = free_port(BORDER)
        listen = f'uri = "ws:{BORDER}:{self.ws}"\norigins = ["https://phone.example.com"]'
        yield self.attacked(**{"[listen]": listen, **more})

    @inlineCallbacks
    def websocket(self, *, subprotocol="sip", origin="https://phone.example.com", more=""):
        """A stream after its request for a WebSocket."""
        stream = yield self.stream(port=self.ws)
        key = base64.b64encode(os.urandom(16)).decode()
        wanted = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        stream.transport.write(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: 13\r\nOrigin: {origin}\r\n{wanted}{more}\r\n".encode()
        )
        yield until(lambda: b"\r\n\r\n" in stream.heard, "an answer to the handshake")
        return stream

    @inlineCallbacks
    def test_08_one_byte_at_a_time_is_cut_at_a_deadline(self):
        yield self.beside(transport=QUICK)
        tcp = yield self.stream()
        ws = yield self.websocket()
        slow = self.request() * 3
        frame = b"\x81\xfe" + len(slow).to_bytes(2, "big") + bytes(4) + slow
        for at in range(len(slow)):
            if tcp.closed and ws.closed:
                break
            if not tcp.closed:
                tcp.transport.write(slow[at : at + 1])
            if not ws.closed:
                ws.transport.write(frame[at : at + 1])
            yield pause(0.05)
        yield until(lambda: tcp.closed and ws.closed, "both are cut")
        self.assertEqual(self.refused("slow"), 2)
        self.assertEqual(tcp.heard, b"")

    @inlineCallbacks
    def test_08_idle_sockets_of_one_source_are_refused_at_the_cap_and_others_get_in(self):
        count, most = (2_000, 1_000) if FULL else (60, 40)
        yield self.attacked(transport=f"connections_per_source = {most}")
        streams = []
        for _ in range(count):
            stream = yield self.stream()
            streams.append(stream)
        yield until(lambda: self.refused("connections-per-source") == count - most, "the rest is refused")
        yield until(lambda: sum(stream.closed for stream in streams) == count - most, "and closed")
        self.assertEqual({stream.heard for stream in streams}, {b""})
        yield self.works()

    @inlineCallbacks
    def test_09_websockets_of_others_are_refused_with_a_status(self):
        yield self.beside()
        for asked, status in (
            ({"subprotocol": "chat"}, b"400"),
            ({"subprotocol": "sipx"}, b"400"),
            ({"subprotocol": None}, b"400"),
            ({"origin": "https://evil.example.net"}, b"403"),
            ({"origin": "https://phone.example.com.evil.example.net"}, b"403"),
            ({"origin": "null"}, b"403"),
        ):
            stream = yield self.websocket(**asked)
            self.assertEqual(stream.heard[9:12], status, asked)
            yield until(lambda stream=stream: stream.closed, "the end")
        bomb = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        stream = yield self.websocket(more=bomb)
        self.assertEqual(stream.heard[9:12], b"101")
        self.assertNotIn(b"permessage-deflate", stream.heard.lower())
        stream.heard = b""
        stream.transport.write(b"\xc1\x85" + bytes(4) + b"abcde")  # a frame that claims to be compressed
        yield until(lambda: stream.closed, "the end of the liar")

    @inlineCallbacks
    def test_09_a_message_over_the_cap_closes_with_1009(self):
        yield self.beside()
        for pieces in (1, 9):
            stream = yield self.websocket()
            stream.heard = b""
            size = 72_000 // pieces
            for piece in range(pieces):
                first = (0x01 if not piece else 0x00) | (0x80 if piece == pieces - 1 else 0x00)
                length = b"\xff" + size.to_bytes(8, "big") if size > 65_535 else b"\xfe" + size.to_bytes(2, "big")
                head = bytes([first]) + length + bytes(4)
                stream.transport.write(head + b"x" * size)
            yield until(lambda stream=stream: stream.closed, "the end")
            self.assertEqual(stream.heard[:1] + stream.heard[2:4], b"\x88" + (1009).to_bytes(2, "big"))
        self.assertEqual(self.refused("oversized"), 2)
        yield self.works()

    @inlineCallbacks
    def test_42_other_protocols_are_closed_and_counted(self):
        yield self.beside()
        probes = {
            "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(60),
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
            "SMTP": b"EHLO x\r\n",
            "RDP": bytes.fromhex("0300001300e0000000000001000800030000") + b"\0",
            "noise": bytes(range(128, 256)) * 4,
        }
        for name, data in probes.items():
            stream = yield self.stream()
            stream.transport.write(data)
            yield until(lambda stream=stream: stream.closed, f"{name} on TCP is closed")
            self.assertEqual(stream.heard, b"", name)
        self.assertEqual(self.refused("not-sip"), len(probes))
        raw = self.raw("127.0.0.9")
        tftp = b"\x00\x01SEP001122334455.cnf.xml\x00octet\x00"
        for data in (tftp, *probes.values()):
            raw.say(data, self.world.sip)
        yield until(lambda: self.refused("not-sip") == 2 * len(probes) + 1, "all datagrams are counted")
        self.assertEqual(raw.heard, [])
        for name in ("TLS", "HTTP/2"):
            stream = yield self.stream(port=self.ws)
            stream.transport.write(probes[name])
            yield until(lambda stream=stream: stream.closed, f"{name} on a WebSocket port is closed")
        self.assertEqual(self.refused("handshake"), 2)
        yield self.works()
