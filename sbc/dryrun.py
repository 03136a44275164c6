"""What would become of a request, for people: every rule, every server, and why."""

from __future__ import annotations

from collections.abc import Mapping

from sbc.admin.ports import Question
from sbc.admin.routes import Refused
from sbc.upper.router import DryRun, Router, Scored, When
from sbc.upper.rules import Inquiry, Tried, read_when
from sbc.upper.servers import UpperServer


def dry_run(router: Router, question: Question) -> Mapping[str, object]:
    """The answer to an operator's question. Nothing is sent or counted. Refused 400 for a question that is none."""
    server = _server(router, question.domain)
    inquiry = Inquiry(
        question.method.upper(),
        question.caller if question.method.upper() != "REGISTER" else question.called,
        question.called,
        question.domain.lower() or server.domain.decode(),
        question.source,
        question.direction,
    )
    key = f"{inquiry.caller}@{server.domain.decode()}"
    found = router.dry_run(inquiry, server, key, _when(question.when))
    routed = found.routed
    decided = next((tried.rule for tried in found.rules if tried.fits), None)
    return {
        "rules": [_rule(tried, decides=tried.rule is decided) for tried in found.rules],
        "outcome": {
            "rule": routed.rule,
            "reject": routed.reject,
            "reason": routed.reason,
            "called": routed.called,
            "caller": routed.caller or inquiry.caller,
            "sent_to": "" if routed.reject else _sent_to(found, inquiry.direction),
        },
        "servers": [_server_row(router, scored) for scored in found.scores],
        "missing": [name for name in decided.uppers if router.servers.get(name) is None] if decided else [],
    }


def _server(router: Router, domain: str) -> UpperServer:
    server = router.servers.by_domain(domain.encode()) if domain else router.servers.preferred()
    if server is None:
        raise Refused(400, "no upper server has this domain: nothing is relayed there" if domain else "no upper server")
    return server


def _when(text: str) -> When | None:
    try:
        return read_when(text) if text else None
    except ValueError as mistake:
        raise Refused(400, f"when: {mistake}; write fri 23:15") from None


def _sent_to(found: DryRun, direction: str) -> str:
    return "a user here" if direction == "in" else ", ".join(each.name for each in found.routed.servers)


def _rule(tried: Tried, *, decides: bool) -> dict[str, object]:
    rule = tried.rule
    does = f"reject {rule.reject}" if rule.reject else " ".join(rule.uppers) or "rewrite"
    return {
        "name": rule.name,
        "fits": tried.fits,
        "why": tried.why or ("decides" if decides else "a rule before it decides"),
        "decides": decides,
        "does": does,
        "captures": list(tried.captures),
        "caller_captures": list(tried.caller_captures),
    }


def _server_row(router: Router, scored: Scored) -> dict[str, object]:
    figures = scored.figures
    health = router.watch.of(router.servers[scored.name])
    why = f"priority {scored.priority}, lot {scored.lot:.3f}"
    if health.down:
        why = f"down: {health.reason}"
    elif scored.demoted:
        why = f"demoted: {scored.demoted}"
    return {
        "place": scored.place,
        "name": scored.name,
        "why": why,
        "state": scored.state,
        "priority": scored.priority,
        "weight": scored.weight,
        "lot": round(scored.lot, 6),
        "demoted": scored.demoted,
        "calls": figures.calls,
        "answer_ratio": figures.answer_ratio,
        "failure_ratio": figures.failure_ratio,
        "post_dial_delay": figures.delay,
    }
