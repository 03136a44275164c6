"""Requests inside the dialogs of a phone that went to sleep (sections 6 and 7)."""

from __future__ import annotations

import time
from dataclasses import replace

from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.lab.world import BORDER, UPPER
from sbc.proxy import passing
from tests.flow.scene import FlowCase, until


class Dialogs(FlowCase):
    @inlineCallbacks
    def sleeping(self, *, push="", child=False, remote="", **more):
        """A call between the upper server and a phone that has gone to sleep since; `remote`: its second token."""
        yield self.begin(push=push, child=child)
        phone = self.phone(dialect="rfc8599", sends_ha1=True, **more)
        phone.change_token(replace(phone.token, remote=remote))
        response = yield phone.start()
        self.assertEqual(response.status, 200)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield self.fall_asleep(phone)
        return phone, call

    @inlineCallbacks
    def urgency(self, method):
        """How a request of that method in the dialog of a sleeping phone pushes it: Apple's push type and priority."""
        phone, call = yield self.sleeping(remote="cd" * 32)
        response = yield call.ask(method)
        self.assertEqual(response.status, 200)
        [push] = self.apns.inbox.of(phone.token.remote)
        return push.headers["apns-push-type"], push.headers["apns-priority"]

    @inlineCallbacks
    def test_statement_41_a_re_invite_is_as_urgent_as_a_call(self):
        how = yield self.urgency(b"INVITE")
        self.assertEqual(how, ("alert", "10"))

    @inlineCallbacks
    def test_statement_41_the_end_of_a_call_is_less_urgent(self):
        how = yield self.urgency(b"BYE")
        self.assertEqual(how, ("background", "5"))

    @inlineCallbacks
    def test_statement_41_a_voip_token_alone_is_for_calls(self):
        yield self.begin()
        phone = self.phone(dialect="rfc8599")
        phone.change_token(replace(phone.token, service="voip"))
        response = yield phone.start()
        self.assertNotIn("pnspurr", str(response.lines(b"feature-caps")), "nothing is promised that cannot be")
        self.assertIn("sip.pns=", str(response.lines(b"feature-caps")))
        yield self.fall_asleep(phone)
        call = self.upper.place_call("bob")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield self.fall_asleep(phone)
        response = yield call.ask(b"INFO")
        self.assertEqual((response.status, response.reason[:15]), (504, b"no push: the de"))
        [push] = self.pushes(phone)
        self.assertEqual(push.headers["apns-push-type"], "voip", "the one of the call")
        refused = "select reason from pushes where status = 'refused' or reason like '%VoIP%'"
        yield until(lambda: self.rows(refused), "told to the operator")

    @inlineCallbacks
    def test_statement_41_a_purr_in_a_request_outside_of_dialogs_means_that_device(self):
        yield self.begin()
        phones = []
        for number in (1, 2):
            phone = yield self.asleep(dialect="rfc8599", host=f"127.0.0.{2 + number}")
            phones.append(phone)
        first, second = phones
        contact = self.upper.contact_of("bob").uri.decode()
        for method in ("SUBSCRIBE", "MESSAGE"):
            uri = f"{contact};pn-purr={second.purr.decode()}"
            yield self.stranger(UPPER).ask(method, uri, self.world.sip, (b"event", b"presence"))
            self.assertEqual((len(first.saw(method)), len(second.saw(method))), (0, 1))
            yield self.fall_asleep(second)
        self.assertEqual([push.payload["ntype"] for push in self.pushes(second)], ["4", "1"])
        self.assertEqual(self.pushes(first), [])

    @inlineCallbacks
    def test_statement_44_an_unknown_purr_and_a_method_that_wakes_nobody(self):
        yield self.begin()
        phone = yield self.asleep(dialect="rfc8599")
        contact = self.upper.contact_of("bob").uri.decode()
        uri = f"{contact};pn-purr={'a' * 32}"
        response = yield self.stranger(UPPER).ask("SUBSCRIBE", uri, self.world.sip, (b"event", b"presence"))
        self.assertEqual((response.status, self.pushes(phone)), (480, []))

    @inlineCallbacks
    def test_statement_40_requests_inside_the_dialog_of_a_called_phone_pass_us(self):
        phone, call = yield self.sleeping()
        [invite] = phone.saw("INVITE")
        ours = f"{BORDER}:{self.world.sip}".encode()
        for seen in (invite.request.contacts[0], *invite.request.record_routes):
            self.assertIn(ours, seen.render(), "the phone's requests come to us")
        self.assertIn(ours, call.dialog.target, "and so do the caller's")
        self.assertEqual(call.dialog.route, [])
        response = yield call.ask(b"INFO")
        self.assertEqual((response.status, len(self.pushes(phone))), (200, 1))
        yield phone.calls[-1].hang_up()
        yield self.happened(call.diary, "ended")

    @inlineCallbacks
    def test_statement_41_a_purr_in_the_request_uri_or_in_a_route_changes_no_way(self):
        phone, call = yield self.sleeping()
        where = call.dialog
        where.target = where.target + b";pn-purr=" + phone.purr
        response = yield call.ask(b"INFO")
        self.assertEqual((response.status, len(self.pushes(phone))), (200, 1))
        yield self.fall_asleep(phone)
        where.target = where.target.partition(b";pn-purr")[0]
        where.route = [b"<sip:" + f"{BORDER}:{self.world.sip}".encode() + b";lr;pn-purr=" + phone.purr + b">"]
        response = yield call.ask(b"INFO")
        self.assertEqual((response.status, len(self.pushes(phone))), (200, 2))

    @inlineCallbacks
    def asks(self, method):
        phone, call = yield self.sleeping()
        response = yield call.ask(method)
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        [seen] = [seen for seen in phone.saw(method.decode()) if seen.wake == 2]
        self.assertGreaterEqual(seen.at, phone.diary.all("registered")[1].at - 0.001, "after the 2xx")
        return phone, call

    @inlineCallbacks
    def test_statement_41_an_info_wakes_the_phone_and_is_delivered_once(self):
        phone, call = yield self.asks(b"INFO")
        response = yield call.hang_up()
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.pushes(phone)), 1, "it is awake now")
        [_, told] = yield self.record(call)
        self.in_order(told, "waiting", "push_sent", "woken", "bye", "ended")

    def test_statement_41_a_bye_wakes_the_phone(self):
        return self.asks(b"BYE")

    @inlineCallbacks
    def test_statement_41_a_re_invite_wakes_the_phone_and_its_ack_arrives(self):
        phone, _ = yield self.asks(b"INVITE")
        yield until(lambda: [seen for seen in phone.saw("ACK") if seen.wake == 2], "the ACK")

    @inlineCallbacks
    def test_statement_41_two_requests_wait_for_one_push_and_arrive_in_order(self):
        phone, call = yield self.sleeping(wake_delay=0.3)
        asked = [call.ask(method) for method in (b"INFO", b"BYE")]
        responses = yield gatherResults(asked)
        self.assertEqual([response.status for response in responses], [200, 200])
        self.assertEqual(len(self.pushes(phone)), 1)
        seen = [seen.method for seen in phone.seen if seen.wake == 2]
        self.assertEqual([method for method in seen if method in ("INFO", "BYE")], ["INFO", "BYE"])

    @inlineCallbacks
    def test_statement_41_a_silent_datagram_flow_is_doubted(self):
        phone, call = yield self.sleeping(transport="udp")
        self.patch(passing, "DOUBT", 0.5)
        self.sbc.transports.flow(self.rows("select flow from bindings")[0]["flow"]).heard_at -= 60
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)
        self.assertEqual(len([seen for seen in phone.saw("INFO") if seen.wake == 2]), 1)

    @inlineCallbacks
    def test_statement_42_nobody_wakes_and_the_dialog_lives_on(self):
        phone, call = yield self.sleeping(push='max_wait = "1s"', killed=True)
        for method in (b"INFO", b"INVITE"):
            started = time.monotonic()
            response = yield call.ask(method)
            self.assertEqual(response.status, 504)
            self.assertGreater(time.monotonic() - started, 0.8)
        phone.manners.killed = False
        yield phone.wake()
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200, "the call goes on")

    @inlineCallbacks
    def test_statement_42_a_refused_push_is_told_at_once_by_504(self):
        _, call = yield self.sleeping()
        self.sbc.push.keyring.apps.clear()
        response = yield call.ask(b"INFO")  # sooner than at the end of the wait
        self.assertEqual(response.status, 504)

    @inlineCallbacks
    def test_statement_42_a_phone_without_push_gets_504_at_once(self):
        yield self.begin()
        phone = yield self.awake(provider="")
        call = self.upper.place_call("bob")
        yield self.final(call)
        yield self.happened(self.ringing(phone).diary, "ack")
        yield self.fall_asleep(phone)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 504)

    @inlineCallbacks
    def test_statement_40_requests_inside_the_dialog_of_a_calling_phone_pass_us(self):
        yield self.begin()
        self.upper.answering["echo"] = 0.05
        phone = yield self.awake(dialect="rfc8599")
        call = phone.call("echo")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        there = self.upper.calls[-1]
        self.assertIn(phone.purr, call.owner.contact(phone.wire))
        for heard in self.upper.saw("INVITE"):
            self.assertNotIn(b"pn-purr", heard.request.render(), "nor does it leave")
        yield self.happened(there.diary, "ack")
        yield self.fall_asleep(phone)
        response = yield there.hang_up()
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_statement_38_a_dialog_with_an_old_purr_is_woken_all_the_same(self):
        phone, call = yield self.sleeping()
        [row] = self.rows("select purr from push_tokens")
        self.assertEqual(row["purr"].encode(), phone.purr)
        now_at = self.sbc.registrar.clock_at
        self.sbc.registrar.clock_at = lambda: now_at() + 86_400
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        self.assertNotEqual(row["purr"].encode(), phone.purr, "it has another one now")
        yield self.fall_asleep(phone)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)

    @inlineCallbacks
    def test_statement_41_after_a_crash_of_the_sbc(self):
        phone, call = yield self.sleeping(child=True)
        yield until(lambda: self.rows("select * from dialogs"), "the dialog is stored")
        yield self.world.restart(crash=True)
        response = yield call.ask(b"INFO")
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.pushes(phone)), 1)

    @inlineCallbacks
    def test_statement_44_an_unknown_purr_changes_nothing(self):
        yield self.begin()
        phone = yield self.awake(dialect="rfc8599")
        phone.purr = b"a" * 32
        self.upper.answering["echo"] = 0.05
        call = phone.call("echo")
        status = yield self.final(call)
        self.assertEqual(status, 200)
        yield self.happened(self.upper.calls[-1].diary, "ack")
        response = yield self.upper.calls[-1].hang_up()
        self.assertEqual(response.status, 200)
