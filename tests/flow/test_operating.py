"""What an operator does and sees while calls go on: reload, the timeline, drain, pushes by hand."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from twisted.internet.defer import inlineCallbacks

from sbc import assembly, service
from tests.flow.scene import FlowCase, until

TEMPLATE = {"aps": {"alert": {"title": "TITLE", "body": "BODY"}}, "mark": "MINE", "who": "FROMUSERNAME"}


class Reloading(FlowCase):
    @inlineCallbacks
    def test_a_template_takes_effect_and_a_broken_one_does_not(self):
        yield self.begin(push='credentials = "FOLDER"', changes={})
        folder = Path(self.world.directory) / "push"
        folder.mkdir()
        self.world.border.rewrite('"FOLDER"', f'"{folder}"')
        template = folder / "pushkitmessage.txt"
        template.write_text(json.dumps(TEMPLATE) + "\n--EOF--\nnotes", encoding="utf-8")
        told = yield self.sbc.operations.reload("SIGHUP")
        self.assertIn("push.credentials", " ".join(told))
        phone = yield self.asleep()
        call = self.upper.place_call("bob", caller="alice")
        yield self.final(call)
        self.assertEqual(self.pushes(phone)[-1].payload["mark"], "MINE")
        self.assertEqual(self.pushes(phone)[-1].payload["who"], "alice")
        yield call.hang_up()

        template.write_text('{"aps": {,}}', encoding="utf-8")
        told = yield self.sbc.operations.reload("SIGHUP")
        self.assertIn("pushkitmessage.txt:1:", " ".join(told))
        yield self.fall_asleep(phone)
        call = self.upper.place_call("bob")
        yield self.final(call)
        self.assertEqual(self.pushes(phone)[-1].payload["mark"], "MINE", "the last good one stays")
        yield call.hang_up()

    @inlineCallbacks
    def test_settings_take_effect_without_dropping_a_call(self):
        yield self.begin(routing="no_wake_code = 480")
        phone = yield self.awake(host="127.0.0.4")
        call = self.upper.place_call("bob")
        yield self.final(call)
        carol = yield self.asleep("carol", killed=True)
        self.world.border.rewrite("no_wake_code = 480", "no_wake_code = 404")
        self.world.border.rewrite("[push]\n", '[push]\nmax_wait = "33s"\n')
        yield self.sbc.operations.reload("SIGHUP")
        self.assertEqual(self.sbc.derived.calls.max_wait, 33.0)
        missed = self.upper.place_call("carol")
        yield self.in_vain()
        status = yield self.final(missed)
        self.assertEqual(status, 404)
        self.assertEqual(len(self.pushes(carol)), 1)
        response = yield self.ringing(phone).hang_up()
        self.assertEqual(response.status, 200)

    @inlineCallbacks
    def test_a_file_that_is_not_to_be_used_changes_nothing(self):
        yield self.begin()
        path = self.world.border.path
        before = self.sbc.configuration
        self.patch(self.sbc.operations, "_read", lambda: service.read(str(path)))
        path.write_text(path.read_text().replace("[admin]\n", '[admin]\napi_id = "me"\napi_key = "0123456789abcdef"\n'))
        path.chmod(0o644)
        told = yield self.sbc.operations.reload("SIGHUP")
        self.assertIn("chmod 600", told[0])
        self.assertEqual(told[1:], ["nothing was changed"])
        path.write_bytes(b"\xff\xfe")
        told = yield self.sbc.operations.reload("SIGHUP")
        self.assertIn("cannot be read", told[0])
        path.unlink()
        told = yield self.sbc.operations.reload("SIGHUP")
        self.assertIn("cannot be read", told[0])
        self.assertIs(self.sbc.configuration, before)

    @inlineCallbacks
    def test_a_mistake_in_the_file_changes_nothing(self):
        yield self.begin(push='max_wait = "2s"')
        self.world.border.rewrite('max_wait = "2s"', 'max_wate = "9s"')
        told = yield self.sbc.operations.reload("SIGHUP")
        self.assertIn("max_wate", told[0])
        self.assertEqual(told[-1], "nothing was changed")
        self.assertEqual(self.sbc.derived.calls.max_wait, 2.0)
        yield self.asleep(killed=True)
        status = yield self.final(self.upper.place_call("bob"))
        self.assertEqual(status, 480)


class Stopping(FlowCase):
    @inlineCallbacks
    def test_calls_that_do_not_end_by_themselves_get_a_bye_on_both_sides(self):
        yield self.begin()
        phone = yield self.awake()
        call = self.upper.place_call("bob")
        yield self.final(call)
        ringing = self.ringing(phone)
        yield self.happened(ringing.diary, "ack")
        self.patch(assembly, "DRAIN", 0.3)
        stopped = self.world.border.stop()
        yield self.happened(ringing.diary, "ended")
        yield self.happened(call.diary, "ended")
        yield stopped
        [cdr] = self.rows("select * from cdrs")
        self.assertEqual((cdr["code"], cdr["ended_by"]), (200, "sbc"))

    @inlineCallbacks
    def test_it_ends_with_its_last_call_and_waits_no_longer(self):
        yield self.begin()
        phone = yield self.awake()
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield self.happened(self.ringing(phone).diary, "ack")
        self.patch(assembly, "DRAIN", 3600.0)
        stopped = self.world.border.stop()
        response = yield call.ask(b"INFO")
        self.assertEqual((response.status, stopped.called), (200, False), "the call goes on")
        yield call.hang_up()
        yield stopped

    @inlineCallbacks
    def test_calls_that_are_left_to_the_next_process_hear_nothing_of_it(self):
        yield self.begin(node='stop = "leave"')
        phone = yield self.awake("bob", transport="udp")
        yield self.awake("alice", answer_delay=None)
        call, unanswered = self.upper.place_call("bob"), self.upper.place_call("alice")
        yield self.final(call)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield until(lambda: 180 in self.heard(unanswered), "it rings")
        self.patch(assembly, "DRAIN", 0.3)
        yield self.world.restart()
        status = yield self.final(unanswered)
        self.assertEqual(status, 503)
        self.assertEqual((phone.saw("BYE"), call.over), ([], False))
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        yield self.happened(phone.diary, "ended")

    @inlineCallbacks
    def test_a_caller_who_waits_for_a_phone_is_not_left_without_an_answer(self):
        yield self.begin()
        phone = yield self.asleep(killed=True)
        call = self.upper.place_call("bob")
        yield until(lambda: self.pushes(phone), "the push")
        self.patch(assembly, "DRAIN", 0.3)
        yield self.world.border.stop()
        status = yield self.final(call)
        self.assertEqual(status, 503)
        [cdr] = self.rows("select * from cdrs")
        self.assertEqual((cdr["code"], cdr["ended_by"]), (503, "sbc"))

    @inlineCallbacks
    def test_a_phone_that_rings_is_told_to_stop(self):
        yield self.begin()
        phone = yield self.awake(answer_delay=None)
        call = self.upper.place_call("bob")
        yield until(lambda: 180 in self.heard(call), "it rings")
        self.patch(assembly, "DRAIN", 0.3)
        yield self.world.border.stop()
        status = yield self.final(call)
        self.assertEqual(status, 503)
        yield self.happened(phone.diary, "cancelled")


class Providers(FlowCase):
    @inlineCallbacks
    def woken_by(self, provider, dialect):
        yield self.begin(providers=(provider,))
        phone = yield self.asleep(provider=provider, dialect=dialect)
        call = self.upper.place_call("bob", caller="alice")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        [push] = self.world.inbox(provider).accepted()
        self.assertIn("alice", json.dumps(push.payload))
        [row] = self.rows("select * from pushes")
        self.assertEqual((row["provider"], row["type"], row["status"]), (provider, "call", push.status))
        self.assertEqual(len(phone.saw("INVITE")), 1)
        yield call.hang_up()

    def test_fcm(self):
        return self.woken_by("fcm", "x-mpush")

    def test_fcm_by_rfc_8599(self):
        return self.woken_by("fcm", "rfc8599")

    def test_web_push(self):
        return self.woken_by("webpush", "rfc8599")

    def test_web_push_by_x_mpush(self):
        return self.woken_by("webpush", "x-mpush")

    @inlineCallbacks
    def test_a_name_full_of_quotes_breaks_no_push(self):
        yield self.begin()
        phone = yield self.asleep()
        call = self.upper.place_call("bob", display='Ann \\"TOKEN\\" {} é')
        status = yield self.final(call)
        self.assertEqual(status, 200)
        self.assertIn('"TOKEN"', str(self.pushes(phone)[0].payload))
        yield call.hang_up()

    @inlineCallbacks
    def test_no_secret_in_the_timeline(self):
        yield self.begin()
        phone = yield self.asleep()
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield call.hang_up()
        yield self.record(call)
        for row in self.rows("select * from call_events"):
            self.assertNotIn(phone.token.prid, row["detail"])


class Stalls(FlowCase):
    @inlineCallbacks
    def test_neither_garbage_nor_another_thread_holds_a_call_up_for_long(self):
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        yield self.begin()
        new, *older = gc.get_threshold()
        self.assertLessEqual(new, 1_000, "more of them take longer than a call should wait")
        self.assertTrue(all(times > 1e9 for times in older), "these are for quiet moments")
        self.assertLessEqual(sys.getswitchinterval(), 0.0011, "a look-up waits some five times for a busy reactor")
