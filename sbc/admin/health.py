"""``/healthz`` and ``/metrics``: what balancers and Prometheus ask."""

from __future__ import annotations

from typing import Final

from sbc.admin.ports import Node
from sbc.admin.routes import Answer, Ask, Route, as_json
from sbc.observe.exposition import CONTENT_TYPE

HEALTH: Final[dict[str, object]] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["ready", "not ready"]},
        "node": {"type": "string"},
        "missing": {"type": "array", "items": {"type": "string"}},
    },
}


def health_routes(node: Node) -> tuple[Route, ...]:
    """The two routes of a node."""

    def healthz(ask: Ask) -> Answer:
        missing = list(node.missing())
        body = {"status": "not ready" if missing else "ready", "node": node.name, "missing": missing}
        return as_json(body, 503 if missing else 200)

    def metrics(ask: Ask) -> Answer:
        return Answer(node.metrics_text(), CONTENT_TYPE.decode())

    return (
        Route("GET", "/healthz", "health", "200 when this node can serve calls, else 503 and what is missing", healthz,
              tag="node", answer=HEALTH),
        Route("GET", "/metrics", "metrics", "Metrics of this node for Prometheus", metrics,
              tag="node", content_type="text/plain", answer={"type": "string"}),
    )  # fmt: skip
