"""Routing as operators try it out: where a request would go, and why."""

from __future__ import annotations

from typing import Final

from sbc.admin.ports import Node, Question
from sbc.admin.routes import Answer, Ask, Field, Route, as_json

API: Final = "/api/v1"

QUESTION: Final = (
    Field("called", "text", "the called name or number", required=True, most=255),
    Field("caller", "text", "the caller's name", most=255),
    Field("method", "text", "INVITE when not given", most=32),
    Field("domain", "text", "the called domain; that of the first upper server when not given", most=255),
    Field("source", "text", "the IP address that it comes from", most=64),
    Field("direction", "text", "out when not given: toward upper servers; in: from them", words=("out", "in")),
    Field("when", "text", "a local time like fri 23:15; now when not given", most=16),
)


def routing_routes(node: Node) -> tuple[Route, ...]:
    """The dry run."""

    def dry_run(ask: Ask) -> Answer:
        return as_json(node.dry_run(Question(**ask.query)))

    return (
        Route(
            "GET",
            f"{API}/routing/dry-run",
            "dry_run",
            "Where a request would go: every rule, every server, and why; nothing is sent",
            dry_run,
            tag="routing",
            query=QUESTION,
            answer={
                "type": "object",
                "properties": {
                    "rules": {"type": "array", "items": {"type": "object"}},
                    "outcome": {"type": "object"},
                    "servers": {"type": "array", "items": {"type": "object"}},
                    "missing": {"type": "array", "items": {"type": "string"}},
                },
            },
        ),
    )
