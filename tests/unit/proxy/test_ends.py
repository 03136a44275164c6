"""Ways to the ends of dialogs: by the proxy before them, and by what their device has registered since."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.defer import fail, succeed
from twisted.internet.task import Clock

from sbc.proxy.dialog import Side
from sbc.proxy.edges import Edges
from sbc.proxy.ends import Ends
from sbc.sip.errors import RemoteError
from sbc.store.records import Binding
from sbc.transport.resolver import Resolver

OLD = b"<sip:old@192.0.2.8;lr>"
NEW = "<sip:new@192.0.2.8;lr;ob>"


def flow(token, *, open_=True):
    return SimpleNamespace(token=token, open=open_, peer=("192.0.2.8", 5060))


def binding(number, *, path=NEW, contact="sip:bob@10.0.0.2:4000"):
    return Binding(id=number, identity="d", contact=contact, path=path, source="192.0.2.8:5060")


def side(hop, *routes):
    return Side(b"", hop, b"sip:bob@10.0.0.1:4000;ob", routes, address="192.0.2.8", user="bob@x", device="d")


class Place:
    """One proxy at 192.0.2.8 that can be connected to or not, and what bob has registered."""

    def __init__(self, *bindings, shut=False):
        self.connected = []
        self.shut = shut
        edges = Edges(Resolver(Clock()), self.connect)
        self.flows = {}
        self.ends = Ends(None, edges, lambda side: succeed(list(bindings)), lambda each: self.flows.get(each.id))

    def connect(self, where):
        self.connected.append(where)
        return fail(RemoteError(503, b"Refused")) if self.shut else succeed(flow(f"made {len(self.connected)}"))

    def found(self, what):
        found = []
        what.addCallbacks(lambda flow: found.append(flow.token), lambda failure: found.append(failure.value.status))
        return found[0]


def test_a_proxy_whose_connection_broke_is_connected_to_again():
    place, phone = Place(), side(flow("gone", open_=False), OLD)
    assert place.found(place.ends.flow(phone)) == "made 1"
    assert phone.hop.token == "made 1"


@pytest.mark.parametrize(
    ("route", "transport", "port"),
    [
        (b"<sip:a@192.0.2.8;lr>", b"UDP", 5060),
        (b"<sip:a@192.0.2.8;transport=tcp;lr>", b"TCP", 5060),
        (b"<sips:a@192.0.2.8;lr>", b"TLS", 5061),
        (b"<sips:a@192.0.2.8;transport=tcp;lr>", b"TLS", 5061),
        (b"<sips:a@192.0.2.8:5070;lr>", b"TLS", 5070),
        (b"<sips:a@192.0.2.8:443;transport=ws;lr>", b"WSS", 443),
    ],
)
def test_a_secure_route_is_followed_by_tls(route, transport, port):
    place = Place()
    place.found(place.ends.flow(side(None, route)))
    [where] = place.connected
    assert (where.transport, where.port) == (transport, port)


def test_a_device_that_is_on_another_flow_of_its_proxy_is_found_there():
    place, phone = Place(binding(1)), side(flow("edge"), OLD)
    place.flows[1] = flow("edge")
    assert place.found(place.ends.anew(phone, set())) == "edge"
    assert phone.routes == (NEW.encode(),)
    assert phone.target == b"sip:bob@10.0.0.2:4000;ob", "by the address that it registered, for proxies that look at it"


def test_each_way_is_tried_once():
    other = binding(2, path="<sip:third@192.0.2.8;lr>")
    place, phone, tried = Place(binding(1), other), side(flow("edge"), OLD), set()
    place.flows = {1: flow("edge"), 2: flow("edge")}
    assert place.found(place.ends.anew(phone, tried)) == "edge"
    assert place.found(place.ends.anew(phone, tried)) == "edge"
    assert phone.routes == (b"<sip:third@192.0.2.8;lr>",)
    assert place.found(place.ends.anew(phone, tried)) == 503


def test_the_way_that_failed_is_none_however_it_is_written():
    place = Place(binding(1, path="<sip:old@192.0.2.8;ob;lr>", contact="sip:bob@10.0.0.1:4000"))
    place.flows[1] = flow("edge")
    assert place.found(place.ends.anew(side(flow("edge"), OLD), set())) == 503


def test_a_proxy_that_is_gone_leaves_the_flow_that_the_device_has_itself():
    place = Place(binding(1), binding(2, path=""), shut=True)
    place.flows[2] = flow("its own")
    phone = side(flow("gone", open_=False), OLD)
    assert place.found(place.ends.anew(phone, set())) == "its own"
    assert phone.routes == ()
    assert len(place.connected) == 2, "the proxy of the dialog, and that of the first registration"


def test_a_database_that_is_away_leaves_no_other_way():
    place = Place()
    place.ends._registrations = lambda side: fail(OSError("away"))
    assert place.found(place.ends.anew(side(flow("edge"), OLD), set())) == 503


def test_a_peer_that_is_no_device_of_ours_has_no_other_way():
    place = Place(binding(1))
    stranger = Side(b"", flow("gone", open_=False), b"sip:x@192.0.2.8", (), address="192.0.2.8")
    assert place.found(place.ends.anew(stranger, set())) == 503
