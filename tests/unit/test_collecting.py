"""The garbage collector looks at what is old in quiet moments, or when there was none for long."""

from __future__ import annotations

from dataclasses import dataclass

from sbc.collecting import LATEST, LOOK, PAUSE, QUIET, Collecting


@dataclass
class Node:
    """A node, its clock, and how often everything was looked at."""

    now: float = 0.0
    transactions: int = 0
    looks: int = 0

    def collect(self) -> None:
        self.looks += 1
        self.now += 0.5


def run(node: Node, collecting: Collecting, seconds: float) -> None:
    until = node.now + seconds
    while node.now < until:
        node.now += LOOK
        collecting.look()


def collecting_of(node: Node) -> Collecting:
    return Collecting(lambda: node.transactions, lambda: node.now, node.collect)


def test_a_quiet_node_looks_once_in_a_while():
    node = Node()
    run(node, collecting_of(node), 10 * PAUSE)
    assert 8 <= node.looks <= 10


def test_a_busy_node_waits_for_a_quiet_moment():
    node = Node(transactions=QUIET + 1)
    collecting = collecting_of(node)
    run(node, collecting, LATEST - 2 * LOOK)
    assert node.looks == 0
    node.transactions = QUIET
    run(node, collecting, LOOK)
    assert node.looks == 1


def test_a_node_that_is_always_busy_looks_at_last():
    node = Node(transactions=100_000)
    run(node, collecting_of(node), LATEST + LOOK)
    assert node.looks == 1
    run(node, collecting_of(node), LATEST / 2)
    assert node.looks == 1
