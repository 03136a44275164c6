"""Fixtures: each is a maker of one kind of party. What a test makes is stopped when it ends, last made first.

On a failure the parties' logs stay in pytest's temporary folder; its path is in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.peers.authority import Authority
from tests.peers.baresip_phone import Baresip
from tests.peers.browser_phone import Browser
from tests.peers.capture import Capture
from tests.peers.kamailio_edge import KamailioEdge
from tests.peers.kamailio_server import Kamailio
from tests.peers.lab_process import Lab
from tests.peers.linphone_phone import Linphone
from tests.peers.lossy import Lossy
from tests.peers.nghttpd_server import Nghttpd
from tests.peers.node_program import NodeApns, NodeWebPush
from tests.peers.openssl_client import OpensslClient
from tests.peers.pjsua2_phone import Pjsua2
from tests.peers.ports import given_back
from tests.peers.rtpengine_daemon import Rtpengine
from tests.peers.sbc_process import Sbc
from tests.peers.sipp_runner import Sipp

Party = TypeVar(
    "Party",
    Baresip,
    Browser,
    Capture,
    Kamailio,
    Lab,
    Linphone,
    Lossy,
    Nghttpd,
    OpensslClient,
    Pjsua2,
    Rtpengine,
    Sbc,
    Sipp,
    NodeApns,
    NodeWebPush,
)
HERE = Path(__file__).parent

USERS = {name: f"secret-{name}" for name in ("alice", "bob", "carol", "dave")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.peer)


@pytest.fixture
def parties() -> Iterator[ExitStack]:
    """Ends what the test began, then gives its ports back."""
    with given_back(), ExitStack() as stack:
        yield stack


def _maker(kind: type[Party], parties: ExitStack, folder: Path) -> Callable[..., Party]:
    """Makes parties of one kind, each in a folder of its own, ended with the test."""
    made = 0

    def make(*arguments: Any, **options: Any) -> Party:
        nonlocal made
        made += 1
        party = kind(folder / f"{kind.__name__.lower()}{made}", *arguments, **options)
        parties.callback(party.stop)
        return party

    return make


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who vouches for the certificates of the test."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def kamailio(parties: ExitStack, tmp_path: Path) -> Callable[..., Kamailio]:
    """``kamailio(**options)``: an upper server that knows USERS."""
    make = _maker(Kamailio, parties, tmp_path)
    return lambda **options: make(USERS, **options)


@pytest.fixture
def edge(parties: ExitStack, tmp_path: Path) -> Callable[..., KamailioEdge]:
    """``edge(beyond)``: a proxy before the SBC at ``beyond`` (HOST:PORT)."""
    return _maker(KamailioEdge, parties, tmp_path)


@pytest.fixture
def baresip(parties: ExitStack, tmp_path: Path) -> Callable[..., Baresip]:
    """``baresip(user, outbound, **options)``: a phone of one of USERS."""
    make = _maker(Baresip, parties, tmp_path)
    return lambda user, outbound, **options: make(user, USERS[user], outbound, **options)


@pytest.fixture
def browser(parties: ExitStack, tmp_path: Path) -> Callable[..., Browser]:
    return _maker(Browser, parties, tmp_path)


@pytest.fixture
def linphone(parties: ExitStack, tmp_path: Path) -> Callable[..., Linphone]:
    """``linphone(user, proxy, **options)``: a phone of one of USERS."""
    make = _maker(Linphone, parties, tmp_path)
    return lambda user, proxy, **options: make(user, USERS[user], proxy, **options)


@pytest.fixture
def lossy(parties: ExitStack, tmp_path: Path) -> Callable[..., Lossy]:
    """``lossy(target, weather, host=…)``: a bad network before ``target`` (HOST:PORT)."""
    return _maker(Lossy, parties, tmp_path)


@pytest.fixture
def pjsua2(parties: ExitStack, tmp_path: Path) -> Callable[..., Pjsua2]:
    """``pjsua2(user, proxy, **options)``: a phone of one of USERS that answers at once."""
    make = _maker(Pjsua2, parties, tmp_path)
    return lambda user, proxy, **options: make(user, USERS[user], proxy, **options)


@pytest.fixture
def openssl(parties: ExitStack, tmp_path: Path) -> Callable[..., OpensslClient]:
    return _maker(OpensslClient, parties, tmp_path)


@pytest.fixture
def sipp(parties: ExitStack, tmp_path: Path) -> Callable[..., Sipp]:
    return _maker(Sipp, parties, tmp_path)


@pytest.fixture
def capture(parties: ExitStack, tmp_path: Path) -> Callable[..., Capture]:
    return _maker(Capture, parties, tmp_path)


@pytest.fixture
def nghttpd(parties: ExitStack, tmp_path: Path) -> Callable[..., Nghttpd]:
    return _maker(Nghttpd, parties, tmp_path)


@pytest.fixture
def rtpengine(parties: ExitStack, tmp_path: Path) -> Callable[..., Rtpengine]:
    """``rtpengine()``: a relay daemon."""
    return _maker(Rtpengine, parties, tmp_path)


@pytest.fixture
def node_apns(parties: ExitStack, tmp_path: Path) -> Callable[..., NodeApns]:
    """``node_apns(signer, team=…, topic=…)``: Apple's push service on Node's HTTP/2."""
    return _maker(NodeApns, parties, tmp_path)


@pytest.fixture
def node_webpush(parties: ExitStack, tmp_path: Path) -> Callable[..., NodeWebPush]:
    """``node_webpush()``: a Web Push service and its subscribers, by npm's libraries."""
    return _maker(NodeWebPush, parties, tmp_path)


@pytest.fixture
def lab(parties: ExitStack, tmp_path: Path) -> Lab:
    """An emulated Apple push service, and phones that it wakes."""
    return _maker(Lab, parties, tmp_path)()


@pytest.fixture
def sbc(parties: ExitStack, tmp_path: Path) -> Iterator[Callable[..., Sbc]]:
    """``sbc(upper, **options)``: ``upper`` is a Kamailio (or a list of ``[[upper]]`` tables)."""
    made: list[Sbc] = []
    make = _maker(Sbc, parties, tmp_path)

    def run(upper: Kamailio | list[dict[str, object]], **options: Any) -> Sbc:
        tables = [_table(upper)] if isinstance(upper, Kamailio) else upper
        made.append(make(tables, **options))
        return made[-1]

    yield run
    for one in made:
        one.check_log()


def _table(upper: Kamailio) -> dict[str, object]:
    return {
        "name": "pbx",
        "uri": f"sip:{upper.host}:{upper.port};transport=udp",
        "domain": upper.realm,
    }
