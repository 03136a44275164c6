"""Phones behind a proxy of somebody else (RFC 3327): many on one flow, which says nothing of any of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from twisted.internet.defer import inlineCallbacks

from sbc.lab.world import BORDER
from tests.flow.edge import Edge, route_of
from tests.flow.scene import FlowCase, until
from tests.flow.waits import PATIENCE

INSTANCE = "urn:uuid:00000000-0000-1000-8000-000a95a0e128"


class EdgeCase(FlowCase):
    """A test with a proxy before the SBC."""

    tcp = True

    @inlineCallbacks
    def begin(self, *, ob=b";ob", **more):
        yield super().begin(**more)
        self.edge = Edge((BORDER, self.world.sip), tcp=self.tcp, ob=ob)
        self.addCleanup(self.edge.close)

    def phone(self, username="bob", **more):
        return super().phone(username, proxy=self.edge.address, transport="udp", **more)

    def gone(self, phone):
        """The edge has lost the phone's flow."""
        self.edge.gone.add(phone.wire.local)


class Behind(EdgeCase):
    @inlineCallbacks
    def test_each_is_called_by_its_own_path_over_the_one_flow(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        alice = yield self.awake("alice", host="127.0.0.5")
        bindings = self.rows("select path, flow from bindings order by id")
        self.assertEqual(len({row["flow"] for row in bindings}), 1)
        self.assertEqual(len({row["path"] for row in bindings}), 2)
        for phone, name in ((bob, "bob"), (alice, "alice")):
            accepted = phone.diary.all("registered")[-1].detail
            self.assertEqual(len(accepted.lines(b"path")), 1, "the phone hears of it")
            status = yield self.final(self.upper.place_call(name))
            self.assertEqual(status, 200)
            self.assertEqual(len(phone.saw("INVITE")), 1)
        routes = [each.lines(b"route") for each in self.edge.requests(b"INVITE")]
        self.assertEqual([len(values) for values in routes], [1, 1])
        self.assertNotEqual(route_of(routes[0][0]), route_of(routes[1][0]))

    @inlineCallbacks
    def test_a_whole_call_and_its_end_go_through_the_proxy(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield self.happened(self.ringing(bob).diary, "ack")
        yield self.ringing(bob).hang_up()
        yield self.happened(call.diary, "ended")
        again = self.upper.place_call("bob")
        yield self.final(again)
        yield again.hang_up()
        yield self.happened(bob.diary, "ended", 2)

    @inlineCallbacks
    def test_who_calls_is_known_by_name_among_all_on_the_flow(self):
        yield self.begin()
        self.upper.answering["echo"] = 0.05
        bob = yield self.awake("bob", host="127.0.0.4")
        yield self.awake("alice", host="127.0.0.5")
        call = bob.call("echo")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [leg] = self.sbc.calls.dialogs.all()
        self.assertEqual(leg.a.user, "bob@pbx.example.com")

    @inlineCallbacks
    def test_a_phone_that_the_proxy_has_lost_is_pushed_and_comes_back_by_another_path(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        yield bob.sleep()
        self.gone(bob)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(bob)), 1)
        self.assertEqual(len(bob.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_phone_that_is_silent_behind_its_proxy_is_pushed(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        yield bob.sleep()
        call = self.upper.place_call("bob")
        yield self.next_moment()
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(bob)), 1)
        self.assertEqual(len(bob.saw("INVITE")), 1)

    @inlineCallbacks
    def test_a_message_is_repeated_no_more_on_the_path_that_its_phone_has_left(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        yield bob.sleep()
        rested, rest = [], self.sbc.driver.rest
        self.patch(self.sbc.driver, "rest", lambda txn: (rested.append(txn.branch), rest(txn)))
        sent = self.upper.send_message("bob", "once")
        yield self.next_moment()
        response = yield sent
        self.assertEqual(response.status, 200)
        self.assertEqual(len(bob.saw("MESSAGE")), 1)
        self.assertIn(self.edge.requests(b"MESSAGE")[0].vias[0].branch, rested)

    @inlineCallbacks
    def test_one_unregisters_and_the_others_stay(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4", provider="")
        alice = yield self.awake("alice", host="127.0.0.5")
        yield bob.register(expires=0)
        self.assertEqual([row["username"] for row in self.users()], ["alice"])
        status = yield self.final(self.upper.place_call("alice"))
        self.assertEqual(status, 200)
        self.upper.answering["echo"] = 0.05
        status = yield self.final(alice.call("echo"))
        self.assertEqual(status, 200)

    def users(self):
        return self.rows("select username from users u join bindings b on b.user_id = u.id")

    @inlineCallbacks
    def test_after_a_restart_the_proxy_is_reached_by_the_path_that_was_kept(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4")
        yield self.world.restart()
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 200)
        self.assertEqual(len(bob.saw("INVITE")), 1)
        self.assertEqual(self.pushes(bob), [], "it was awake all the time")

    @inlineCallbacks
    def test_a_call_ends_although_the_connection_of_the_proxy_broke(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4", provider="")
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield self.happened(self.ringing(bob).diary, "ack")
        yield until(self.edge.cut(), "the connection is gone")
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(bob.diary, "ended")

    @inlineCallbacks
    def test_a_message_kept_for_a_phone_reaches_it_through_its_proxy(self):
        yield self.begin(push='max_wait = "1s"')
        bob = yield self.awake("bob", host="127.0.0.4", killed=True)
        yield bob.sleep()
        self.gone(bob)
        response = yield self.upper.send_message("bob", "later")
        self.assertEqual(response.status, 202)
        bob.manners.killed = False
        yield bob.start()
        text = yield self.happened(bob.diary, "message")
        self.assertEqual(text, "later")
        self.assertTrue(self.edge.requests(b"MESSAGE")[-1].lines(b"route"))


class BehindUdp(Behind):
    """The same over a proxy that talks UDP to us."""

    tcp = False


class FirstHop(EdgeCase):
    """Outbound through a proxy: it is the proxy's to offer."""

    @inlineCallbacks
    def asking(self, **more):
        yield self.begin(**more)
        phone = self.phone(instance=INSTANCE, preference="reg-id=1", headers=[(b"supported", b"outbound")])
        response = yield phone.start()
        return response

    @inlineCallbacks
    def test_a_proxy_that_offers_it(self):
        response = yield self.asking()
        self.assertEqual(response.status, 200)
        self.assertIn(b"outbound", response.each(b"require"))
        self.assertFalse(response.has(b"flow-timer"), "the proxy says how often it wants to hear")

    @inlineCallbacks
    def test_a_proxy_that_does_not(self):
        response = yield self.asking(ob=b"", registrar='first_hop = "strict"')
        self.assertEqual(response.status, 439)
        self.assertEqual(self.rows("select * from bindings"), [])

    @inlineCallbacks
    def test_a_proxy_that_does_not_where_that_is_overlooked(self):
        response = yield self.asking(ob=b"")
        self.assertEqual(response.status, 200)
        self.assertFalse(response.has(b"require"))


class Elsewhere(EdgeCase):
    @inlineCallbacks
    def test_a_path_that_leads_elsewhere_is_not_followed(self):
        yield self.begin()
        bob = yield self.awake("bob", host="127.0.0.4", provider="")
        listener = Edge((BORDER, self.world.sip), host="127.0.0.9")
        self.addCleanup(listener.close)
        forged = f"<sip:x@127.0.0.9:{listener.address[1]};transport=tcp;lr>"
        with closing(sqlite3.connect(self.world.border.database, timeout=PATIENCE)) as database, database:
            database.execute("update bindings set path = ?", (forged,))
        yield until(self.edge.cut(), "the connection is gone")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertNotEqual(status, 200)
        self.assertEqual(listener.heard, [])
        self.assertTrue(bob.awake)
