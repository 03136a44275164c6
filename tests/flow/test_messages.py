"""Messages that nobody wakes for: stored, answered 202, delivered in order at the next REGISTER, once."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks

from sbc.sip import parse
from sbc.sip.build import respond
from sbc.store import Execute
from sbc.store.mail import ExpireMessages
from tests.flow.scene import FlowCase, pause, until
from tests.flow.waits import turns


class Mail(FlowCase):
    @inlineCallbacks
    def gone(self, *, push="", **more):
        """A phone that no push wakes."""
        yield self.begin(push=push)
        phone = yield self.asleep(killed=True, **more)
        return phone

    def texts(self, phone):
        return [entry.detail for entry in phone.diary.all("message")]

    def states(self):
        return [row["state"] for row in self.rows("select state from messages order by id")]

    @inlineCallbacks
    def sent(self, text, **more):
        response = yield self.upper.send_message("bob", text, **more)
        return response.status

    @inlineCallbacks
    def kept(self, *texts, pushes=None):
        """These are sent side by side, and nobody comes for them: the statuses. `pushes` is how many were sent then."""
        sent = gatherResults([self.sent(text) for text in texts])
        yield self.next_moment_of(len(texts), pushes)
        statuses = yield sent
        return statuses if len(texts) > 1 else statuses[0]

    @inlineCallbacks
    def next_moment_of(self, count, pushes=None):
        """So many messages wait for a phone, after as many pushes, and their time is over."""
        wanted = count if pushes is None else pushes
        yield until(lambda: len(self.rows("select id from pushes")) >= wanted, "the pushes")
        yield self.next_moment(count)

    @inlineCallbacks
    def back(self, phone):
        phone.manners.killed = False
        yield phone.wake()

    @inlineCallbacks
    def test_it_is_held_then_stored_then_delivered_once(self):
        phone = yield self.gone()
        status = yield self.kept("good night")
        self.assertEqual((status, self.states()), (202, ["waiting"]))
        self.assertEqual(len(self.pushes(phone)), 1)
        yield self.back(phone)
        yield until(lambda: self.states() == ["delivered"], "delivered")
        self.assertEqual(self.texts(phone), ["good night"])
        [seen] = phone.saw("MESSAGE")
        self.assertGreaterEqual(seen.at, phone.diary.all("registered")[-1].at - 0.001, "after the 2xx")
        self.assertIn(b"caller@", seen.request.first(b"from"))
        self.assertTrue(seen.request.has(b"date"))
        yield phone.register()
        yield pause(0.2)
        self.assertEqual(self.texts(phone), ["good night"], "not again")

    @inlineCallbacks
    def test_several_come_in_their_order_and_later_ones_do_not_overtake(self):
        phone = yield self.gone()
        statuses = yield self.kept("one", "two")
        self.assertEqual(statuses, [202, 202])
        status = yield self.sent("three")
        self.assertEqual(status, 202)
        yield until(lambda: len(self.pushes(phone)) == 3, "each is a reason to push")
        phone.manners.extra_registers = 2
        yield self.back(phone)
        yield until(lambda: self.states() == ["delivered"] * 3, "delivered")
        self.assertEqual(self.texts(phone), ["one", "two", "three"])
        status = yield self.sent("four")
        self.assertEqual((status, self.texts(phone)[3:]), (200, ["four"]))

    @inlineCallbacks
    def test_it_survives_a_restart(self):
        phone = yield self.gone()
        status = yield self.kept("still here")
        self.assertEqual(status, 202)
        yield self.world.restart()
        yield self.back(phone)
        yield until(lambda: self.states() == ["delivered"], "delivered")
        self.assertEqual(self.texts(phone), ["still here"])

    @inlineCallbacks
    def test_a_database_that_has_stopped_keeps_it_and_nobody_calls_that_a_bug(self):
        yield self.gone()
        yield self.kept("still here")
        yield self.world.border.stop()
        self.sbc.calls.mailbox.look()
        yield turns()
        self.assertEqual((self.flushLoggedErrors(), self.states()), ([], ["waiting"]))

    @inlineCallbacks
    def test_expires_is_obeyed(self):
        phone = yield self.gone()
        sent = self.upper.send("MESSAGE", "bob", headers=[(b"expires", b"0")], body=b"now or never")
        yield self.in_vain()
        response = yield sent
        self.assertEqual((response.status, self.states()), (480, []))
        sent = self.upper.send("MESSAGE", "bob", headers=[(b"expires", b"500")], body=b"soon")
        yield self.in_vain(2)
        response = yield sent
        self.assertEqual((response.status, self.states()), (202, ["waiting"]))
        late = yield self.sbc.store.write(ExpireMessages(self.sbc.calls.clock_at() + 501))
        self.assertEqual((late, self.states()), (1, ["expired"]))
        yield self.back(phone)
        yield pause(0.2)
        self.assertEqual(self.texts(phone), [])

    @inlineCallbacks
    def test_what_the_phone_refuses_is_not_offered_again_and_what_it_cannot_take_is(self):
        phone = yield self.gone()
        yield self.kept("hello")
        phone.manners.message_answer = 500
        yield self.back(phone)
        yield until(lambda: self.rows("select tries from messages")[0]["tries"] == 1, "a try")
        self.assertEqual(self.states(), ["waiting"])
        phone.manners.message_answer = 415
        yield phone.register()
        yield until(lambda: self.states() == ["failed"], "refused")
        yield phone.register()
        yield pause(0.2)
        self.assertEqual(len(phone.saw("MESSAGE")), 2)

    @inlineCallbacks
    def test_one_that_cannot_be_sent_holds_up_nobody(self):
        phone = yield self.gone()
        yield self.kept("first", "second")
        broken = "update messages set headers = ? where id = (select min(id) from messages)"
        yield self.sbc.store.write(Execute(lambda connection: connection.exec_driver_sql(broken, ("no JSON",))))
        yield self.back(phone)
        yield until(lambda: self.states() == ["failed", "delivered"], "the one behind it is delivered")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    @inlineCallbacks
    def test_a_bug_in_a_delivery_does_not_end_all_later_ones(self):
        phone = yield self.gone()
        yield self.kept("hello?")
        send, driver = self.sbc.driver.send, self.sbc.driver

        def broken(request, *more):
            if request.method == b"MESSAGE":
                raise RuntimeError("a bug")
            send(request, *more)

        self.patch(driver, "send", broken)
        yield self.back(phone)
        yield until(lambda: self.flushLoggedErrors(RuntimeError), "the bug is told")
        self.patch(driver, "send", send)
        yield self.fall_asleep(phone)
        yield self.back(phone)
        yield until(lambda: self.states() == ["delivered"], "the next REGISTER gets it")

    @inlineCallbacks
    def test_switched_off_the_sender_hears_480(self):
        yield self.begin(proxy="store_messages = false")
        yield self.asleep(killed=True)
        status = yield self.kept("hello?")
        self.assertEqual((status, self.states()), (480, []))

    @inlineCallbacks
    def test_no_chat_push_when_that_is_off_and_stored_all_the_same(self):
        phone = yield self.gone(push='chat = "off"')
        status = yield self.sent("quietly")
        self.assertEqual((status, self.pushes(phone)), (202, []))
        yield self.back(phone)
        yield until(lambda: self.texts(phone) == ["quietly"], "delivered")

    @inlineCallbacks
    def silent(self, *, push="", **more):
        """A phone that looks awake and says nothing any more: its network is gone."""
        yield self.begin(push=push)
        phone = yield self.awake(killed=True, **more)
        yield phone.sleep(silently=True)
        return phone

    @inlineCallbacks
    def lost_to(self, phone, *, pushes=2):
        """Two messages to that phone are kept, in their order, and delivered once each when it is back."""
        sent = gatherResults([self.sent(text) for text in ("one", "two")])
        if pushes:
            yield self.next_moment(2)
            yield until(lambda: len(self.pushes(phone)) == pushes, "pushed after a doubt")
        yield self.next_moment_of(2, pushes)
        statuses = yield sent
        self.assertEqual((statuses, self.states()), ([202, 202], ["waiting"] * 2))
        self.assertEqual(phone.saw("MESSAGE"), [])
        yield self.back(phone)
        yield until(lambda: self.states() == ["delivered"] * 2, "delivered")
        yield pause(0.6)  # whatever was sent before has had its time
        self.assertEqual(self.texts(phone), ["one", "two"])

    @inlineCallbacks
    def test_to_a_udp_phone_gone_without_a_word_it_is_not_lost(self):
        phone = yield self.silent(transport="udp")
        yield self.lost_to(phone)
        self.assertEqual(len(self.pushes(phone)), 2)

    @inlineCallbacks
    def test_to_a_phone_on_a_dead_connection_it_is_not_lost(self):
        phone = yield self.silent(transport="tcp")
        yield self.lost_to(phone)

    @inlineCallbacks
    def test_nor_where_nobody_may_be_pushed_for_it(self):
        phone = yield self.silent(transport="udp", push='chat = "off"')
        yield self.lost_to(phone, pushes=0)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_a_silent_phone_that_wakes_in_time_answers_it_itself(self):
        phone = yield self.silent(transport="udp")
        phone.manners.killed = False
        sent = self.sent("quick")
        yield self.next_moment()
        status = yield sent
        self.assertEqual((status, self.states(), self.texts(phone)), (200, [], ["quick"]))

    @inlineCallbacks
    def test_an_answer_that_comes_after_it_was_kept_counts(self):
        phone = yield self.silent(transport="udp")
        out, driver = [], self.sbc.driver
        self.patch(driver, "sent", lambda data, hop: out.append(data))
        sent = self.sent("late")
        yield self.next_moment()
        yield self.next_moment_of(1)
        status = yield sent
        self.assertEqual((status, self.states()), (202, ["waiting"]))
        request = parse(next(data for data in out if data.startswith(b"MESSAGE ")))
        phone.wire.send(respond(request, 200, to_tag=b"late").render())
        yield until(lambda: self.states() == ["delivered"], "its answer counts")
        yield self.back(phone)
        yield pause(0.3)
        self.assertEqual(self.texts(phone), [], "not a second time")

    @inlineCallbacks
    def test_a_phone_that_comes_back_while_it_is_being_delivered_gets_it_at_once(self):
        phone = yield self.gone(transport="udp")
        yield self.kept("one", "two")
        phone.manners.killed = False
        yield phone.wake()
        phone.party.deaf = True
        yield until(lambda: self.sbc.calls.mailbox._delivering, "a delivery nobody hears")
        started = reactor.seconds()
        yield phone.wake()
        yield until(lambda: self.states() == ["delivered"] * 2, "delivered where it is now")
        self.assertLess(reactor.seconds() - started, 25.0, "before the other delivery has timed out")
        self.assertEqual(self.texts(phone), ["one", "two"])

    @inlineCallbacks
    def test_a_user_without_push_has_no_mailbox_here(self):
        yield self.begin()
        yield self.asleep(provider="")
        status = yield self.sent("hello?")
        self.assertIn(status, (404, 480))
        self.assertEqual(self.states(), [])
