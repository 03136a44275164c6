"""Where a request goes, all things considered."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

from sbc.sip.uri import Uri
from sbc.upper.health import DOWN, UP
from sbc.upper.quality import ENOUGH
from sbc.upper.router import Router, Routing
from sbc.upper.rules import Inquiry, read_rule
from sbc.upper.servers import UpperServer, UpperServers


def server(name, domain=b"pbx.example.com", priority=0):
    return UpperServer(name, Uri.parse(b"sip:192.0.2.1"), domain, priority, 1, ())


PBX, SPARE, TRUNK = server("pbx"), server("spare", priority=10), server("trunk", b"trunk.example.net")


class Watched:
    """What is known of the servers' health."""

    def __init__(self):
        self.gone = set()

    def down(self, server):
        return server.name in self.gone

    def of(self, server):
        return SimpleNamespace(state=DOWN if self.down(server) else UP)


def router(*rules, **settings):
    given = {
        "lookup": "auto",
        "for_register": True,
        "quality": False,
        "window": 900.0,
        "local_calls": "off",
        "local_fallback": True,
    }
    routing = Routing(**{**given, **settings})
    made = Router(
        servers=UpperServers([PBX, SPARE, TRUNK]),
        watch=Watched(),
        settings=lambda: routing,
        clock=lambda: 100.0,
        local=lambda: time.struct_time((2026, 3, 2, 12, 0, 0, 0, 61, 0)),
    )
    made.rules = tuple(read_rule({"name": "r", **rule}) for rule in rules)
    return made


def inquiry(called="004930123456", **changes):
    asked = Inquiry("INVITE", "alice", called, "pbx.example.com", "192.0.2.7")
    return replace(asked, **changes)


def names(routed):
    return [each.name for each in routed.servers]


def test_without_rules_the_servers_of_the_domain():
    made = router()
    assert names(made.route(inquiry(), SPARE, "alice")) == ["pbx", "spare"]
    made.watch.gone.add("pbx")
    assert names(made.route(inquiry(), PBX, "alice")) == ["spare", "pbx"]
    assert names(made.route(inquiry(), TRUNK, "alice")) == ["trunk"]


def test_a_rule_names_servers_in_its_own_order():
    made = router({"called": "00*", "upper": "trunk, spare, pbx", "rewrite": "+{1}"})
    routed = made.route(inquiry(), PBX, "alice")
    assert (names(routed), routed.called, routed.rule) == (["trunk", "spare", "pbx"], "+4930123456", "r")
    assert routed.servers == (TRUNK, SPARE, PBX), "as they are configured"
    made.watch.gone.add("trunk")
    assert names(made.route(inquiry(), PBX, "alice")) == ["spare", "pbx", "trunk"]
    assert names(made.route(inquiry("bob"), PBX, "alice")) == ["pbx", "spare"]


def test_a_rule_refuses():
    routed = router({"called": "0900*", "reject": 403, "reason": "Not For You"}).route(inquiry("090012"), PBX, "k")
    assert (routed.servers, routed.reject, routed.reason) == ((), 403, "Not For You")


def test_a_rule_that_names_a_server_that_is_gone():
    assert router({"upper": "old"}).route(inquiry(), PBX, "k").reject == 503
    assert names(router({"upper": "old, trunk"}).route(inquiry(), PBX, "k")) == ["trunk"]


def test_requests_from_upper_servers_are_refused_or_get_another_caller():
    made = router(
        {"upper": "trunk"},
        {"direction": "in", "caller": "spam*", "reject": 603},
        {"direction": "in", "caller": "0*", "rewrite_caller": "+49{1}"},
    )
    assert made.arriving(inquiry(caller="alice", direction="in")) is None
    assert made.arriving(inquiry(caller="spammer", direction="in")).reject == 603
    assert made.arriving(inquiry(caller="030", direction="in")).caller == "+4930"
    assert router().arriving(inquiry(direction="in")) is None


def test_a_rule_that_only_rewrites_leaves_the_servers_of_the_domain():
    routed = router({"called": "00*", "rewrite": "+{1}", "rewrite_caller": "reception"}).route(inquiry(), PBX, "alice")
    assert (names(routed), routed.called, routed.caller) == (["pbx", "spare"], "+4930123456", "reception")
    assert router().route(inquiry(), PBX, "alice").caller == ""


def test_rules_choose_the_registrar_too_unless_they_must_not():
    rule = {"caller": "1##", "upper": "trunk"}
    assert names(router(rule).registrars(PBX, "123", "pbx.example.com")) == ["trunk"]
    assert names(router(rule).registrars(PBX, "bob", "pbx.example.com")) == ["pbx", "spare"]
    assert names(router(rule, for_register=False).registrars(PBX, "123", "pbx.example.com")) == ["pbx", "spare"]


def test_quality_counts_where_it_is_switched_on():
    for on, expected in ((True, ["spare", "pbx"]), (False, ["pbx", "spare"])):
        made = router(quality=on)
        for _ in range(ENOUGH):
            made.ended(PBX, "004930123456", 503, None)
        assert names(made.route(inquiry(), PBX, "k")) == expected
        assert names(made.route(inquiry("+43"), PBX, "k")) == ["pbx", "spare"]


def test_a_dry_run_at_another_time_of_registers_and_of_what_comes_in():
    made = router({"days": "sat", "upper": "trunk"}, {"direction": "in", "caller": "spam*", "reject": 603})
    assert names(made.dry_run(inquiry(), PBX, "alice").routed) == ["pbx", "spare"]
    assert names(made.dry_run(inquiry(), PBX, "alice", (5, 720)).routed) == ["trunk"]
    found = made.dry_run(inquiry(caller="spammer", direction="in"), PBX, "spammer")
    assert (found.routed.reject, [tried.fits for tried in found.rules], found.scores) == (603, [False, True], ())
    found = router({"upper": "trunk"}, for_register=False).dry_run(inquiry("bob", method="REGISTER"), PBX, "bob")
    assert (names(found.routed), found.rules) == (["pbx", "spare"], ())


def test_a_dry_run_tells_everything_and_changes_nothing():
    made = router({"called": "0043*", "upper": "trunk"}, {"called": "0049*", "upper": "pbx, spare"}, quality=True)
    for _ in range(ENOUGH):
        made.ended(PBX, "004930123456", 503, None)
    made.watch.gone.add("spare")
    for _ in range(100):
        found = made.dry_run(inquiry(), PBX, "alice")
        assert names(found.routed) == ["pbx", "spare"], "demoted is better than down"
    assert [(tried.fits, tried.why) for tried in found.rules] == [(False, "called 004930123456"), (True, "")]
    first, second = found.scores
    assert (first.name, first.place, first.state, first.figures.calls) == ("pbx", 1, "up", ENOUGH)
    assert first.demoted == "100% of 20 calls failed"
    assert (second.name, second.state, second.demoted) == ("spare", "down", "")
