"""What a REGISTER leaves in the store, in its words: pure."""

from __future__ import annotations

from sbc.registrar.decide import Plan
from sbc.registrar.outbound import path_of
from sbc.sip.message import Request
from sbc.store.records import Binding
from sbc.transport.flow import Flow


def binding(plan: Plan, request: Request, flow: Flow, reach: Flow, node: str, now_at: float) -> Binding:
    """The device: it registered over `flow` and is reached over `reach`."""
    return Binding(
        identity=plan.identity,
        contact=plan.contact,
        instance=plan.instance,
        reg_id=plan.reg_id,
        transport=flow.transport.decode(),
        source=f"{flow.peer[0]}:{flow.peer[1]}",
        flow=reach.token,
        node=node,
        user_agent=user_agent(request),
        expires_at=now_at + plan.expires,
        call_id=request.call_id.decode("utf-8", "replace"),
        cseq=request.cseq.number,
        path=b", ".join(path_of(request)).decode("utf-8", "replace"),
        q=plan.q,
    )


def user_agent(request: Request) -> str:
    """The app's own name for itself."""
    return (request.first(b"user-agent") or b"").decode("utf-8", "replace")
