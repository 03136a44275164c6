"""What a route is, how requests find theirs, and what goes in and out. Pure.

One table of `Route`s serves the API and is its description: `openapi` reads the same fields that requests are checked
with, so that the two cannot differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sbc.admin.access import Caller

JSON: Final = "application/json"
TEXT_LIMIT: Final = 4096
"""Characters of one text in a query or body, unless its field says otherwise."""

INTEGER_LIMIT: Final = 2**63 - 1
"""The largest number a column of any database holds."""

Kind = Literal["text", "integer", "number", "flag", "object"]
_SCHEMA: Final[Mapping[Kind, str]] = {
    "text": "string",
    "integer": "integer",
    "number": "number",
    "flag": "boolean",
    "object": "object",
}


class Refused(Exception):  # noqa: N818  it reads as what it is: raise Refused(404, "no such call")
    """A request that is answered with an error: an HTTP status and a sentence for whoever sent it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason


def storable(text: str) -> str:
    """`text` as it is; raises `Refused` 400 where no database could hold it: a NUL, half a surrogate pair."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Refused(400, "a text with characters that are none")
    return text


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter or member of a body: what it is, what it means, whether it must be, its words or bounds."""

    name: str
    kind: Kind
    doc: str
    required: bool = False
    words: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None

    def read(self, raw: object) -> Any:
        """The value of a JSON value, or of a query's text. Raises `Refused` 400."""
        if self.kind == "text" and isinstance(raw, str):
            if len(raw) > (self.most or TEXT_LIMIT):
                raise Refused(400, f"{self.name} is longer than {self.most or TEXT_LIMIT} characters")
            if self.words and raw not in self.words:
                raise Refused(400, f"{self.name} must be one of {', '.join(self.words)}")
            return storable(raw)
        if self.kind == "flag" and raw in (True, False, "true", "false", "on", "off", "1", "0"):
            return raw in (True, "true", "on", "1")
        if self.kind == "object" and isinstance(raw, dict):
            return raw
        if self.kind in ("integer", "number") and not isinstance(raw, bool) and isinstance(raw, int | float | str):
            return self._number(raw)
        raise Refused(400, f"{self.name} must be {'true or false' if self.kind == 'flag' else f'of kind {self.kind}'}")

    def _number(self, raw: float | str) -> float:
        try:
            value = int(raw) if self.kind == "integer" else float(raw)
        except (ValueError, OverflowError):
            raise Refused(400, f"{self.name} must be of kind {self.kind}") from None
        if isinstance(raw, float) and value != raw:
            raise Refused(400, f"{self.name} must be of kind {self.kind}")
        if value != value or (self.least is not None and value < self.least):
            raise Refused(400, f"{self.name} must be at least {self.least}")
        most = self.most if self.most is not None else INTEGER_LIMIT
        if value > most or value < -INTEGER_LIMIT:
            raise Refused(400, f"{self.name} must be at most {most}")
        return value

    def schema(self) -> dict[str, object]:
        """Its JSON schema."""
        schema: dict[str, object] = {"type": _SCHEMA[self.kind], "description": self.doc}
        if self.words:
            schema["enum"] = list(self.words)
        if self.kind == "text":
            schema["maxLength"] = self.most or TEXT_LIMIT
        else:
            schema |= {
                name: bound for name, bound in (("minimum", self.least), ("maximum", self.most)) if bound is not None
            }
        return schema


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as a route sees it: path and query parameters and body, read by the route's fields."""

    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def as_json(value: object, status: int = 200) -> Answer:
    """An answer with this value as JSON."""
    return Answer(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n", JSON, status)


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table. `path` has ``{names}`` for its variable parts; `run` answers now or by a Deferred.

    `need` is what a caller's key must be good for. `answer` is the JSON schema of a 200.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    name: str
    doc: str
    run: Callable[[Ask], Answer | Deferred[Answer]]
    need: Literal["read", "write"] = "read"
    tag: str = ""
    query: tuple[Field, ...] = ()
    body: tuple[Field, ...] = ()
    answer: Mapping[str, object] = field(default_factory=dict)
    content_type: str = JSON
    open_query: bool = False
    """Takes any query parameters, as texts, and lets a key be shown among them (`shared_key`)."""
    hidden: bool = False
    """Not in the OpenAPI description: pages and static files."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The path by segments."""
        return tuple(self.path.strip("/").split("/")) if self.path != "/" else ()

    def read_query(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The query parameters as values. Raises `Refused` 400; a parameter that is not known is an error, too."""
        if self.open_query:
            return {name: storable(value) for name, value in given.items()}
        return _read(self.query, given, "parameter")

    def read_body(self, raw: bytes, content_type: str) -> dict[str, Any]:
        """The members of the JSON body as values. Raises `Refused` 400, 415."""
        if not self.body:
            return {}
        if not raw.strip():
            return _read(self.body, {}, "member")
        # Another content type would let a foreign page's plain form reach us without the browser asking first.
        if content_type.partition(";")[0].strip().lower() != JSON:
            raise Refused(415, "the body must be application/json")
        try:
            given = json.loads(raw)
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(given, dict):
            raise Refused(400, "the body must be a JSON object")
        return _read(self.body, given, "member")


def _read(fields: Sequence[Field], given: Mapping[str, object], what: str) -> dict[str, Any]:
    known = {one.name: one for one in fields}
    for name in given:
        if name not in known:
            raise Refused(400, f"there is no {what} {name[:60]!r} here")
    missing = [one.name for one in fields if one.required and given.get(one.name) in (None, "")]
    if missing:
        raise Refused(400, f"missing: {', '.join(missing)}")
    return {name: known[name].read(raw) for name, raw in given.items() if raw is not None}


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters, unquoted. Raises `Refused` 404, 405. HEAD is served as GET."""
        wanted = "GET" if method == "HEAD" else method
        parts = tuple(path.strip("/").split("/")) if path.strip("/") else ()
        there = False
        for route in self.routes:
            found = _match(route.parts, parts)
            if found is None:
                continue
            if route.method == wanted:
                return route, found
            there = True
        raise Refused(405, "this cannot be done here") if there else Refused(404, "there is nothing here")


def _match(pattern: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    found: dict[str, str] = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            found[wanted[1:-1]] = storable(unquote(part))
        elif wanted != part:
            return None
    return found
