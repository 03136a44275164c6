"""How `sbcctl` talks to a node: the HTTP API over http.client, nothing of the node itself."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

API: Final = "/api/v1"

TIMEOUT: Final = 60.0
"""Seconds to wait for an answer: a push may take some."""

PAGE: Final = 1000
"""Rows asked for at a time."""


class ApiError(Exception):
    """The node refused, or could not be reached: `status` is its HTTP status, 0 when there was none."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Client:
    """One node's API at `url` (``http://127.0.0.1:8080``), with `key` where one is given.

    Over https the server's certificate and name are verified, against the file `ca` where it is given.
    """

    def __init__(self, url: str, key: str = "", ca: str = "") -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ApiError(0, f"{url} is not an address like http://127.0.0.1:8080")
        self.host, self.port, self.scheme = parts.hostname, parts.port, parts.scheme
        self._key = key
        self._ca = ca

    def ask(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: object = None) -> Any:
        """Send one request below ``/api/v1`` (or to an absolute path); returns the JSON, or the text, of the answer."""
        target = path if path.startswith(("/api/", "/healthz", "/metrics")) else API + path
        if query:
            target += "?" + urlencode(query)
        headers = {"Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connection()
        try:
            connection.request(method, target, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(0, f"no answer from {self.scheme}://{self.host}:{connection.port}: {error}") from error
        finally:
            connection.close()
        return _read(answer.status, answer.getheader("Content-Type", ""), text)

    def rows(self, path: str, query: Mapping[str, Any], limit: int) -> Iterator[dict[str, Any]]:
        """The rows of a list, page by page, `limit` at most."""
        asked = dict(query)
        while limit > 0:
            answer = self.ask("GET", path, asked | {"limit": min(limit, PAGE)})
            yield from answer["items"]
            limit -= len(answer["items"])
            if answer.get("next") is None:
                return
            asked["after"] = answer["next"]

    def _connection(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        context = ssl.create_default_context(cafile=self._ca or None)
        return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=context)


def _read(status: int, content_type: str, text: str) -> Any:
    if not content_type.startswith("application/json"):
        if status >= 400:
            raise ApiError(status, f"{status} {text[:200]}")
        return text
    try:
        value = json.loads(text)
    except ValueError:
        raise ApiError(status, f"{status}: the answer is not JSON") from None
    if status >= 400 and isinstance(value, dict) and "error" in value:
        raise ApiError(status, str(value["error"]))
    return value


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")
