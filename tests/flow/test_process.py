"""What only signals show: the SBC as a child process, reloaded, stopped, killed."""

from __future__ import annotations

import shutil
import sqlite3

import treq
from twisted.internet.defer import inlineCallbacks

from tests.flow.scene import FlowCase, pause, until
from tests.flow.waits import PATIENCE


class Processes(FlowCase):
    timeout = 170

    @inlineCallbacks
    def talking(self, **more):
        phone = yield self.awake(**more)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        return phone, call

    def bound_at(self, user):
        """When the upper server last accepted a REGISTER of the user; 0: it has none."""
        contact = self.upper.contact_of(user)
        return contact.updated_at if contact is not None else 0

    def fall_due(self):
        """Registrations are to be refreshed as soon as somebody looks."""
        with sqlite3.connect(self.world.border.database, timeout=PATIENCE) as database:
            database.execute("update upper_registrations set next_at = 1")

    @inlineCallbacks
    def healthy(self):
        """Whether the SBC says that it serves."""
        response = yield treq.get(f"{self.world.border.web}/healthz", persistent=False)
        yield treq.content(response)
        return response.code == 200

    def reloads(self):
        """How often it was told that the configuration was read again."""
        return len(self.rows("select id from audit where action = 'reload'"))

    def signal(self, name):
        self.world.border._process.signalProcess(name)

    @inlineCallbacks
    def test_killed_and_started_again(self):
        """Registrations and dialogs are there again; a sleeping phone is still reached."""
        yield self.begin(child=True)
        sleeper = yield self.asleep("carol")
        phone, call = yield self.talking(transport="udp")
        yield until(lambda: self.rows("select * from dialogs"), "the dialog is kept")
        bound = self.bound_at("carol")
        self.fall_due()
        yield self.world.restart(crash=True)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200, "a request inside the dialog passes")
        response = yield self.ringing(phone).hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(call.diary, "ended")
        yield until(lambda: not self.rows("select * from dialogs"), "the dialog is gone")
        yield until(lambda: self.bound_at("carol") > bound, "the upper registration is resumed")
        waking = self.upper.place_call("carol")
        status = yield self.final(waking)
        self.assertEqual(status, 200)
        self.assertEqual((len(self.pushes(sleeper)), len(sleeper.saw("INVITE"))), (1, 1))
        yield waking.hang_up()
        query = "select * from cdrs where call_id = ? and ended_at is not null"
        yield until(lambda: self.rows(query, call.call_id.decode()), "the CDR of the call that went on")

    @inlineCallbacks
    def test_killed_in_the_moment_of_an_answer(self):
        """The call is there again: what its parties say meanwhile passes, the ACK that was lost is made up for."""
        yield self.begin(child=True, proxy="mask_call_id = true")
        phone = yield self.awake(transport="udp")
        call = self.upper.place_call("bob")
        put, self.upper.party.put = self.upper.party.put, lambda message, wire: None
        yield self.final(call)
        yield until(lambda: self.rows("select * from dialogs"), "the dialog is kept")
        self.upper.party.put = put
        self.signal("KILL")
        asked = call.ask(b"INFO")
        yield self.world.border.diary.when("ended")
        yield self.world.restart()
        response = yield asked
        self.assertEqual(response.status, 200)
        ringing = self.ringing(phone)
        yield self.happened(ringing.diary, "ack")
        response = yield ringing.ask(b"INFO")
        self.assertEqual(response.status, 200)
        self.assertNotEqual(ringing.call_id, call.call_id)
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(ringing.diary, "ended")

    @inlineCallbacks
    def test_sigterm_lets_calls_end_and_takes_no_new_ones(self):
        yield self.begin(child=True)
        phone, call = yield self.talking()
        ended = self.world.border.diary.when("ended")
        self.signal("TERM")
        while (yield self.healthy()):
            yield pause(0.05)
        refused = self.upper.place_call("bob")
        status = yield self.final(refused)
        self.assertEqual(status, 503)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200, "the call goes on")
        self.assertFalse(ended.called)
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(self.ringing(phone).diary, "ended")
        yield ended
        [cdr] = self.rows("select * from cdrs where call_id = ?", call.call_id.decode())
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "caller"))

    @inlineCallbacks
    def test_sigterm_leaves_calls_to_the_next_process(self):
        """Signalling and audio of a call go on over a restart in order, and its record is whole."""
        yield self.begin(child=True, node='stop = "leave"')
        phone, call = yield self.talking(transport="udp", talks=True)
        ringing = self.ringing(phone)

        def hears(times):
            before = [(side.media, side.media.received) for side in (call, ringing)]
            return until(lambda: all(media.received > heard + times for media, heard in before), "both hear")

        yield hears(5)
        yield self.world.border.stop()
        yield hears(25)
        yield self.world.restart()
        yield hears(25)
        self.assertFalse(call.over or ringing.over)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        response = yield ringing.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(call.diary, "ended")
        query = "select * from cdrs where call_id = ? and ended_at is not null"
        yield until(lambda: self.rows(query, call.call_id.decode()), "the CDR")
        [cdr] = self.rows(query, call.call_id.decode())
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "callee"))
        lost = self.rows("select * from call_events where kind in ('error', 'timeout')")
        self.assertEqual([row["detail"] for row in lost], [])

    @inlineCallbacks
    def test_sighup_reads_credentials_and_templates_again(self):
        yield self.begin(child=True)
        authority = self.world.authority
        key = authority.apns_key()
        hidden = key.with_suffix(".away")
        phone = yield self.asleep()
        shutil.move(key, hidden)
        self.signal("HUP")
        yield until(lambda: self.reloads() == 1, "the reload is told")
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480, "no key, no push")
        self.assertEqual(self.pushes(phone), [])
        shutil.move(hidden, key)
        self.signal("HUP")
        yield until(lambda: self.reloads() == 2, "the second one")
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        yield call.hang_up()
