"""aiortc as a browser, the relay, and a plain phone that echoes, in one process: run in a network of its own, whose
address is the first argument, because ICE does not use loopback. The second says who offers: `web` or `phone`; the
third our peer's DTLS role when it answers.

Prints JSON: audio frames that aiortc got back, packets that the phone got, the relay's counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from twisted.internet import asyncioreactor

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription  # noqa: E402
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError  # noqa: E402
from twisted.internet import reactor  # noqa: E402

from sbc.media.calls import MediaCalls  # noqa: E402
from sbc.media.inline import InlineEngine  # noqa: E402
from sbc.media.settings import MediaSettings  # noqa: E402

PATIENCE, ENOUGH = 60.0, 50  # seconds, packets each way
PHONE = "127.0.0.4"


class Echo(asyncio.DatagramProtocol):
    """The plain phone."""

    packets = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.packets += 1
        self.transport.sendto(data, addr)


def description(port: int) -> bytes:
    lines = [
        f"v=0\r\no=- 1 1 IN IP4 {PHONE}\r\ns=-\r\nc=IN IP4 {PHONE}\r\nt=0 0",
        f"m=audio {port} RTP/AVP 0",
        "",
    ]
    return "\r\n".join(lines).encode()


async def call(address: str, who: str) -> dict[str, Any]:
    settings = MediaSettings()
    engine = InlineEngine(settings, reactor)
    calls = MediaCalls(settings, engine)
    calls.startService()
    transport, echo = await loop.create_datagram_endpoint(Echo, local_addr=(PHONE, 0))
    plain = description(transport.get_extra_info("sockname")[1])
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTrack(AudioStreamTrack())
    frames = 0

    async def listen(track: Any) -> None:
        nonlocal frames
        try:
            while await track.recv():
                frames += 1
        except MediaStreamError:
            pass

    tasks = []
    peer.on("track", lambda track: tasks.append(asyncio.ensure_future(listen(track))))

    def shown(where: str) -> bytes:
        return where.encode()

    async def passed(deferred: Any) -> str:
        return (await deferred.asFuture(loop)).decode()

    if who == "web":
        await peer.setLocalDescription(await peer.createOffer())
        offer = peer.localDescription.sdp.encode()
        back, toward = shown(address), shown("127.0.0.2")
        await passed(calls.offer("leg", offer, source=address, toward=toward, back=back, from_="a"))
        answer = await passed(calls.answer("leg", plain, source=PHONE, from_="b"))
        await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    else:
        back, toward = shown("127.0.0.2"), shown(address)
        offered = calls.offer("leg", plain, source=PHONE, toward=toward, back=back, from_="a", toward_web=True)
        await peer.setRemoteDescription(RTCSessionDescription(await passed(offered), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        await passed(calls.answer("leg", peer.localDescription.sdp.encode(), source=address, from_="b"))
    end = loop.time() + PATIENCE
    while min(frames, echo.packets) <= ENOUGH and loop.time() < end:
        await asyncio.sleep(0.1)
    state = peer.connectionState
    await peer.close()
    (stream,) = (await calls.close("leg").asFuture(loop)).streams
    heard = stream.from_a if who == "web" else stream.from_b
    return {"frames": frames, "phone": echo.packets, "state": state, "relayed": heard.packets, "refused": heard.refused}


if __name__ == "__main__":
    print(json.dumps(loop.run_until_complete(call(sys.argv[1], sys.argv[2]))))
