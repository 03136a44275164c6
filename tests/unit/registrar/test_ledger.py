"""What a refresh that ended badly means for its user, told to a store that keeps what it was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.defer import succeed

from sbc.registrar.ledger import Ledger, LedgerRules
from sbc.store.operations import ForgetHa1, RemoveBinding, UpdateUpperRegistration
from sbc.store.records import UpperRegistration, User
from sbc.upper.given import Given
from sbc.upper.registration import Standing

NOW = 1_800_000_000.0
BOB = User(id=7, username="bob", domain="pbx.example.com", upper="pbx", ha1="a" * 32, last_seen_at=NOW - 500)
ROW = UpperRegistration(id=1, user_id=7, upper="pbx", contact="sip:o@h", state="registered", cseq=4, expires_at=NOW + 9)


class Store:
    def __init__(self, applies):
        self.applies = applies
        self.asked = []

    def write(self, operation):
        self.asked.append(operation)
        return succeed(self.applies)


def stood(state, *, applies, wake="auto"):
    """What was asked of the store, and who was woken, after a refresh ended so."""
    store, woken = Store(applies), []
    rules = LedgerRules(node="n", remove_rejected=True, max_offline=0.0, wake=wake)
    ledger = Ledger(store, lambda: rules, lambda user, row: woken.append(user), lambda user, row: None)
    ledger.stand(BOB, ROW, Standing(state, 403, "Forbidden", None, None, 1, 6), NOW)
    return store.asked, woken


@pytest.mark.parametrize("state", ["rejected", "needs_wake", "registered", "failing"])
def test_the_outcome_follows_from_what_was_leased(state):
    asked, _ = stood(state, applies=True)
    assert isinstance(asked[0], UpdateUpperRegistration)
    assert (asked[0].before, asked[0].registration.state, asked[0].registration.cseq) == (ROW, state, 6)


def test_a_rejected_user_loses_the_ha1_that_was_tried_and_its_devices():
    asked, _ = stood("rejected", applies=True)
    assert asked[1] == ForgetHa1(7, "a" * 32)
    assert isinstance(asked[2], RemoveBinding)
    assert asked[2].unseen_since == BOB.last_seen_at


def test_nothing_of_that_where_a_register_came_in_between():
    assert len(stood("rejected", applies=False)[0]) == 1
    assert stood("needs_wake", applies=True)[1] == [BOB]
    assert stood("needs_wake", applies=False)[1] == []


@pytest.mark.parametrize(
    ("given", "applies", "routes"),
    [
        (Given("<sip:new;lr>"), True, ["<sip:new;lr>"]),
        (Given(), True, [""]),
        (Given("<sip:new;lr>"), False, []),
        (None, True, []),
    ],
    ids=["another one", "none any more", "a REGISTER came in between", "the server said nothing"],
)
def test_requests_take_the_service_route_that_a_refresh_brought_and_no_older_one(given, applies, routes):
    rerouted = []
    rules = LedgerRules(node="n", remove_rejected=True, max_offline=0.0, wake="auto")
    ledger = Ledger(Store(applies), lambda: rules, lambda user, row: None, lambda user, row: rerouted.append(row))
    state = "failing" if given is None else "registered"
    row = replace(ROW, service_route="<sip:old;lr>")
    ledger.stand(BOB, row, Standing(state, 200, "OK", None, None, 0, 6, given), NOW)
    assert [each.service_route for each in rerouted] == routes
