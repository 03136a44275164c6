"""Apps without a stored HA1 are woken to register again: `push.wake_to_refresh`."""

from __future__ import annotations

from twisted.internet.defer import inlineCallbacks

from sbc import assembly
from sbc.lab.forward import Place
from sbc.registrar import asking
from sbc.upper import refresher
from tests.flow.scene import FlowCase, pause, until


class RefreshPush(FlowCase):
    """Registrations last two seconds; whoever does not come is pushed again after 0.3, 0.6 … seconds."""

    def setUp(self):
        self.patch(assembly, "POLL", 0.1)
        self.patch(refresher, "POLL", 0.1)
        self.patch(asking, "PAUSES", (0.3, 0.6))

    @inlineCallbacks
    def away(self, mode, **more):
        yield self.begin(push=f'upper_expires = 2\nwake_to_refresh = "{mode}"')
        self.upper.rules.expires, self.upper.rules.min_expires = 2, 1
        phone = yield self.asleep(**{"sends_ha1": False, **more})
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
        phone = yield self.away("auto", killed=True)
        yield until(lambda: len(self.pushes(phone)) == 3, "three pushes", 10)
        yield pause(1.0)
        self.assertEqual(self.types(phone), ["4"] * 3, "and then left alone")
        phone.manners.killed = False
        status = yield self.final(self.upper_call())
        self.assertEqual(status, 200, "a call wakes it all the same")

    def upper_call(self):
        """The upper server has forgotten the registration, and knows the Contact from elsewhere."""
        [row] = self.rows("select contact from upper_registrations")
        self.patch(self.upper, "_place", lambda user: Place(row["contact"].encode(), []))
        self.upper.rules.expires = 600
        return self.upper.place_call("bob")

    @inlineCallbacks
    def test_auto_does_not_wake_an_app_that_we_can_refresh(self):
        phone = yield self.away("auto", sends_ha1=True)
        yield pause(3)
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
        yield pause(3)
        self.assertEqual(self.pushes(phone), [])
        self.assertEqual(len(self.rows("select * from bindings")), 1)

    @inlineCallbacks
    def test_remove_drops_the_device_when_its_registration_is_over(self):
        phone = yield self.away("remove")
        self.assertEqual(len(self.rows("select * from bindings")), 1)
        yield until(lambda: not self.rows("select * from bindings"), "gone", 6)
        self.assertEqual(self.pushes(phone), [])

    @inlineCallbacks
    def test_an_app_that_refreshes_by_itself_is_not_pushed(self):
        yield self.begin(push="upper_expires = 2")
        self.upper.rules.expires, self.upper.rules.min_expires = 2, 1
        phone = yield self.awake(sends_ha1=False)
        for _ in range(4):
            yield pause(0.6)
            yield phone.register()
        self.assertEqual(self.pushes(phone), [])
