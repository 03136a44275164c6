"""An upper server in a process of its own that only answers: REGISTER by a challenge and a grant, OPTIONS by 200."""

from __future__ import annotations

import multiprocessing
import re
import socket

BUFFER = 4 * 1024 * 1024  # bytes of socket buffer, so that this side loses nothing
_copied = re.compile(rb"^(?:Via|From|To|Call-ID|CSeq):.*\r\n", re.MULTILINE | re.IGNORECASE)
_contact = re.compile(rb"^Contact: *(<[^>\r\n]*>)", re.MULTILINE | re.IGNORECASE)
_proved = re.compile(rb"^Authorization: *Digest .*nonce=\"([^\"]*)\"", re.MULTILINE | re.IGNORECASE)


class Registrar:
    """Listens on ``host:port`` (UDP) until ``stop``. ``grant`` in seconds; ``forgets``: it takes no nonce twice;
    ``trusts``: it challenges nobody."""

    def __init__(
        self, host: str, port: int, realm: str, *, grant: int = 3600, forgets: bool = False, trusts: bool = False
    ) -> None:
        self.host, self.port = host, port
        self._counts = multiprocessing.Array("q", 3, lock=False)
        arguments = (host, port, realm.encode(), grant, forgets, trusts, self._counts)
        self._process = multiprocessing.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def granted(self) -> int:
        """REGISTERs answered 200 so far."""
        return self._counts[0]

    @property
    def challenged(self) -> int:
        """REGISTERs answered 401 so far."""
        return self._counts[1]

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(5)


def _serve(host: str, port: int, realm: bytes, grant: int, forgets: bool, trusts: bool, counts: list[int]) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.bind((host, port))
    used: set[bytes] = set()
    number = 0
    while True:
        data, source = sock.recvfrom(65536)
        if data.startswith((b"SIP/2.0", b"ACK")):
            continue
        head = b"".join(_copied.findall(data))
        proved = _proved.search(data)
        if not data.startswith(b"REGISTER"):
            answer = b"SIP/2.0 200 OK\r\n" + head + b"Content-Length: 0\r\n\r\n"
        elif not trusts and (proved is None or proved[1] in used):
            number += 1
            counts[1] += 1
            answer = (
                b'SIP/2.0 401 Unauthorized\r\n%bWWW-Authenticate: Digest realm="%b", nonce="%d", algorithm=MD5, '
                b'qop="auth"\r\nContent-Length: 0\r\n\r\n' % (head, realm, number)
            )
        else:
            counts[0] += 1
            if forgets and proved is not None:
                used.add(proved[1])
            contact = _contact.search(data)
            shown = b"Contact: %b;expires=%d\r\n" % (contact[1], grant) if contact else b""
            answer = b"SIP/2.0 200 OK\r\n%b%bContent-Length: 0\r\n\r\n" % (head, shown)
        sock.sendto(answer, source)
