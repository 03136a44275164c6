"""A flood of requests by UDP from many addresses: `python -m tests.security.flood HOST PORT RATE SECONDS SOURCES`.

Each is new: another Call-ID, branch, user. Prints how many were sent.
"""

from __future__ import annotations

import random
import sys
import time

from tests.security.hostile import loopback

METHODS = ("REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "INVITE", "OPTIONS")


def main(host: str, port: int, rate: float, seconds: float, sources: int) -> None:
    sockets = [loopback(f"127.0.1.{number + 1}") for number in range(sources)]
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        while sent < now * rate:
            method, number = METHODS[sent % len(METHODS)], random.randrange(1 << 48)
            source = sockets[sent % sources]
            uri = "sip:pbx.example.com" if method == "REGISTER" else f"sip:{number % 1000}@pbx.example.com"
            source.sendto(
                f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {source.getsockname()[0]};branch=z9hG4bK{number};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:{number % 999}@pbx.example.com>;tag={number}\r\n"
                f"To: <sip:{number % 1000}@pbx.example.com>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n"
                f"Contact: <sip:x@192.0.2.1>\r\nEvent: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n".encode(),
                (host, port),
            )
            sent += 1
        time.sleep(0.002)
    print(sent)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
