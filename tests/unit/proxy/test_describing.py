"""Which descriptions are offers and which are answers."""

from __future__ import annotations

import pytest

from sbc.proxy.describing import answers
from sbc.sip.build import make_request, respond


def request(method):
    return make_request(method, b"sip:a@h", via=b"SIP/2.0/UDP h", from_=b"<sip:a>", to=b"<sip:b>", call_id=b"c", cseq=1)


@pytest.mark.parametrize(
    ("method", "due", "answer"),
    [
        (b"INVITE", False, False),
        (b"INVITE", True, False),
        (b"UPDATE", False, False),
        (b"UPDATE", True, False),
        (b"ACK", False, True),
        (b"PRACK", True, True),
        (b"PRACK", False, False),
    ],
)
def test_of_a_request_the_method_tells(method, due, answer):
    assert answers(request(method), None, offered=False, due=due) is answer


@pytest.mark.parametrize(
    ("method", "offered", "answer"),
    [
        (b"INVITE", True, True),
        (b"INVITE", False, False),
        (b"UPDATE", True, True),
        (b"PRACK", True, True),
        (b"PRACK", False, True),
    ],
)
@pytest.mark.parametrize("due", [True, False])
def test_of_a_response_its_request_tells_and_no_earlier_one(method, offered, answer, due):
    asked = request(method)
    assert answers(respond(asked, 200), asked, offered=offered, due=due) is answer
