"""tshark reads all that the SBC says in the flow tests and finds nothing malformed.

Each file of flow tests runs once more in a network namespace of its own: nothing else is on its loopback interface. Its
SBC is at 127.0.0.1; what others send there may be as bad as a test wants it.
"""

from __future__ import annotations

import shlex
import socket
import sys

import pytest

from tests.peers.capture import Recording
from tests.peers.ports import free_port
from tests.peers.program import Program, require, unavailable
from tests.peers.sbc_process import ROOT

FLOW = ROOT / "tests" / "flow"
RUN = """
ip link set lo up || exit 77
dumpcap -q -i lo -f 'udp or tcp' -w {file} 2>{log} &
until grep -q 'Capturing on' {log}; do kill -0 $! 2>/dev/null || exit 77; sleep 0.1; done
{python} -m pytest -q -p no:xdist {tests}
status=$?
sleep 0.5
kill $!
wait
exit $status
"""
NO_NAMESPACE, TESTS_FAILED = 77, 1
FROM_SBC = "ip.src == 127.0.0.1"
WIDE = {
    "test_transfers.py": "MaskedTransfers and (three_phones or conference or outside)",
    "test_branches.py": "reliable or two_answers",
    "test_methods.py": "Masked and (no_message or forked or challenge)",
    "test_messages.py": "held_then_stored or comes_back_while",
    "test_crossing.py": "allow_list_holds",
    "test_inside.py": "late_offer or strictly",
    "test_families.py": "over_tcp",
}
"""Transfers, subscriptions, messages, masked Call-IDs, both families: a few tests of each file, for their kinds of
messages and not for what they find."""


def recorded(folder, *tests):
    """The loopback traffic of the flow tests ``tests``; whether they pass is their own affair."""
    require("unshare", "ip", "dumpcap")
    file = folder / "flow.pcapng"
    words = {"file": file, "log": folder / "dumpcap.log", "python": sys.executable}
    quoted = {name: shlex.quote(str(word)) for name, word in words.items()}
    script = RUN.format(**quoted, tests=" ".join(shlex.quote(str(test)) for test in tests))
    program = Program("flow", ["unshare", "-n", "sh", "-c", f"cd {shlex.quote(str(ROOT))}\n{script}"], folder)
    status = program.process.wait(240)
    if status == NO_NAMESPACE or "unshare failed" in program.output():
        unavailable("no network namespace to be had, or no capture in it")
    assert status in (0, TESTS_FAILED), program.output()[-3000:]
    return Recording(file)


@pytest.mark.parametrize(
    ("tests", "at_least"),
    [("test_registering.py", 100), ("test_dialogs.py", 100), ("test_crossing.py", 50), ("test_waking.py", 50)],
)
def test_nothing_that_the_sbc_sends_is_malformed(tmp_path, tests, at_least):
    wire = recorded(tmp_path, FLOW / tests)
    assert wire.check(FROM_SBC) >= at_least


def test_nor_is_anything_of_a_wide_choice(tmp_path):
    chosen = " or ".join(f"({name} and ({which}))" if which else name for name, which in WIDE.items())
    wire = recorded(tmp_path, *(FLOW / name for name in WIDE), "-k", chosen)
    said = {method for [method] in wire.read(f"({FROM_SBC}) && sip.Method", "sip.Method")}
    assert said >= {
        "INVITE",
        "ACK",
        "BYE",
        "CANCEL",
        "PRACK",
        "UPDATE",
        "INFO",
        "REFER",
        "SUBSCRIBE",
        "NOTIFY",
        "MESSAGE",
    }
    assert wire.check(f"({FROM_SBC}) || ipv6") >= 300


def test_the_judge_is_awake(capture):
    port = free_port()
    wire = capture([port])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.4:5060;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
            b"To: <sip:b@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: many\r\n\r\n",
            ("127.0.0.4", port),
        )

    with pytest.raises(AssertionError, match="malformed"):
        wire.check()
