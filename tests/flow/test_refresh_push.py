"""Apps without a stored HA1 are woken to register again: `push.wake_to_refresh`."""

from __future__ import annotations

import time

from twisted.internet.defer import inlineCallbacks

from sbc.lab.forward import Place
from sbc.registrar import asking
from tests.flow.due import Due
from tests.flow.scene import until


class RefreshPush(Due):
    @inlineCallbacks
    def away(self, mode, *, due=True, **more):
        yield self.begin(push=f'wake_to_refresh = "{mode}"')
        phone = yield self.asleep(**{"sends_ha1": False, **more})
        if due:
            self.fall_due()
        return phone

    def types(self, phone):
        return [push.payload["ntype"] for push in self.pushes(phone)]

    @inlineCallbacks
    def test_auto_wakes_an_app_whose_password_is_not_known(self):
        phone = yield self.away("auto")
        yield self.happened(phone.diary, "registered", 2)
        self.assertEqual(self.types(phone), ["4"])
        self.assertIsNotNone(self.upper.contact_of("bob"), "in time")

    @inlineCallbacks
    def test_who_does_not_come_is_asked_again_a_few_times(self):
        self.patch(asking, "PAUSES", (0.3, 0.6))
        phone = yield self.away("auto", killed=True)
        yield until(lambda: self.row()["next_at"] is None, "nothing more is to come")
        yield until(lambda: len(self.pushes(phone)) >= 3, "three pushes")
        self.assertEqual(self.types(phone), ["4"] * 3, "and then left alone")
        phone.manners.killed = False
        status = yield self.final(self.upper_call())
        self.assertEqual(status, 200, "a call wakes it all the same")

    def upper_call(self):
        """The upper server has forgotten the registration, and knows the Contact from elsewhere."""
        contact = self.row()["contact"].encode()
        self.patch(self.upper, "_place", lambda user: Place(contact, []))
        return self.upper.place_call("bob")

    @inlineCallbacks
    def test_auto_does_not_wake_an_app_that_we_can_refresh(self):
        phone = yield self.away("auto", due=False, sends_ha1=True)
        for _ in range(2):
            row = yield self.refreshed()
            self.assertEqual(row["state"], "registered")
        self.assertEqual(self.pushes(phone), [])
        self.assertIsNotNone(self.upper.contact_of("bob"))

    @inlineCallbacks
    def test_on_wakes_it_all_the_same(self):
        phone = yield self.away("on", sends_ha1=True)
        yield self.happened(phone.diary, "registered", 2)
        self.assertEqual(set(self.types(phone)), {"4"})

    @inlineCallbacks
    def test_off_wakes_nobody(self):
        phone = yield self.away("off")
        yield until(lambda: self.row()["next_at"] is None, "nothing is to come")
        yield self.written()
        self.assertEqual(self.pushes(phone), [])
        self.assertEqual(len(self.rows("select * from bindings")), 1)

    @inlineCallbacks
    def test_remove_drops_the_device_when_its_registration_is_over(self):
        phone = yield self.away("remove")
        yield until(lambda: self.row()["next_at"] == self.row()["expires_at"], "looked at when it is over")
        self.assertEqual(len(self.rows("select * from bindings")), 1)
        self.fall_due(expires_at=1)
        yield until(lambda: not self.rows("select * from bindings"), "gone")
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_an_app_that_refreshes_by_itself_is_not_pushed(self):
        yield self.begin()
        phone = yield self.awake(sends_ha1=False)
        for _ in range(4):
            self.change("update upper_registrations set next_at = ?", time.time() + 60)
            yield phone.register()
            self.assertGreater(self.row()["next_at"], time.time() + 120, "it is looked at later")
        self.assertEqual(self.pushes(phone), [])
