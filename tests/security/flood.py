"""A flood of requests by UDP from many addresses, and a friend who asks meanwhile, each in a process of its own.

`python -m tests.security.flood HOST PORT SECONDS RATE SOURCES`: each request is new, with another Call-ID, branch and
user. Prints how many were sent. `python -m tests.security.flood HOST PORT SECONDS FRIEND` asks by OPTIONS twice a
second from that address, repeats as RFC 3261 says, and prints the longest wait for an answer in seconds.
"""

from __future__ import annotations

import random
import socket
import sys
import time

DOMAIN = "flooded.example"
METHODS = ("REGISTER", "SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE", "INVITE", "OPTIONS")


def loopback(host: str) -> socket.socket:
    """A plain UDP socket of the attacker's, for what must not wait for the reactor."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((host, 0))
    return opened


def main(host: str, port: int, rate: float, seconds: float, sources: int) -> None:
    sockets = [loopback(f"127.0.1.{number + 1}") for number in range(sources)]
    begun, sent = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        while sent < now * rate:
            method, number = METHODS[sent % len(METHODS)], random.randrange(1 << 48)
            source = sockets[sent % sources]
            uri = f"sip:{DOMAIN}" if method == "REGISTER" else f"sip:{number % 1000}@{DOMAIN}"
            source.sendto(
                f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {source.getsockname()[0]};branch=z9hG4bK{number};rport\r\n"
                f"Max-Forwards: 70\r\nFrom: <sip:{number % 999}@{DOMAIN}>;tag={number}\r\n"
                f"To: <sip:{number % 1000}@{DOMAIN}>\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\n"
                f"Contact: <sip:x@192.0.2.1>\r\nEvent: presence\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n".encode(),
                (host, port),
            )
            sent += 1
        time.sleep(0.002)
    print(sent)


def ask(host: str, port: int, seconds: float, friend: str) -> None:
    opened = loopback(friend)
    slowest, begun = 0.0, time.monotonic()
    while time.monotonic() < begun + seconds:
        number, asked, wait = random.randrange(1 << 48), time.monotonic(), 0.5
        request = (
            f"OPTIONS sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP {friend};branch=z9hG4bK{number};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:friend@{friend}>;tag={number}\r\nTo: <sip:{host}>\r\n"
            f"Call-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        ).encode()
        answer = b""
        while str(number).encode() not in answer and time.monotonic() < asked + 32:
            opened.sendto(request, (host, port))
            opened.settimeout(wait)
            wait = min(2 * wait, 4.0)
            try:
                answer = opened.recv(65_535)
            except TimeoutError:
                continue
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.5)
    print(slowest)


if __name__ == "__main__":
    where = (sys.argv[1], int(sys.argv[2]))
    if len(sys.argv) == 5:
        ask(*where, float(sys.argv[3]), sys.argv[4])
    else:
        main(*where, float(sys.argv[4]), float(sys.argv[3]), int(sys.argv[5]))
