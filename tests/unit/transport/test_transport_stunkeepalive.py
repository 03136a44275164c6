"""STUN keep-alives on the SIP port."""

from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from sbc.transport.stunkeepalive import binding_answer
from tests.unit.transport.test_transport_udp import Phone
from tests.unit.transport.transport_world import Node
from tests.waiting import until

# The transaction of RFC 5769 2.1 and the mapped addresses of 2.2 and 2.3.
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = bytes.fromhex("000100002112a442") + TRANSACTION


def test_the_mapped_address_of_the_test_vectors() -> None:
    head = "2112a442" + TRANSACTION.hex()
    assert binding_answer(REQUEST, "192.0.2.1", 32853) == bytes.fromhex(
        "0101000c" + head + "00200008" + "0001a147e112a643"
    )
    assert binding_answer(REQUEST, "2001:db8:1234:5678:11:2233:4455:6677", 32853) == bytes.fromhex(
        "01010018" + head + "00200014" + "0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    )


def test_anything_else_is_not_answered() -> None:
    attributes = bytes.fromhex("8022000474657374")
    whole = bytes.fromhex("000100082112a442") + TRANSACTION + attributes
    assert binding_answer(whole, "192.0.2.1", 1) is not None
    for data in (
        b"",
        REQUEST[:19],
        whole[:-1],
        whole + b"\0",
        REQUEST.replace(bytes.fromhex("2112a442"), bytes(4)),
        bytes.fromhex("0011") + REQUEST[2:],
        bytes.fromhex("0101") + REQUEST[2:],
    ):
        assert binding_answer(data, "192.0.2.1", 1) is None


class OnTheWire(TestCase):
    def test_a_phone_keeps_its_flow_alive(self) -> Any:
        async def conversation() -> None:
            node, phone = Node(self, "udp:127.0.0.2:0"), Phone(self)
            flow = node.transports.udp_flow(node.transports.listeners[0], phone.address)
            phone.say(REQUEST, node)
            self.assertEqual(await phone.hear(), binding_answer(REQUEST, *phone.address))
            await until(lambda: flow.heard_at > 0.0)
            self.assertEqual((node.ear.messages, node.ear.refusals), ([], []))

        return ensureDeferred(conversation())
