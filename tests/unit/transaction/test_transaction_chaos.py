"""Whatever comes in whatever order: no exception, and in the end nothing is left."""

from __future__ import annotations

import random

import pytest

from sbc.sip.build import ack_for, cancel_for, respond
from sbc.transaction import (
    ClientTransaction,
    NewRequest,
    Received,
    Retry,
    ServerTransaction,
    State,
    TimedOut,
    Unacknowledged,
)
from tests.unit.transaction.transaction_world import Wire, World, request

METHODS = (b"INVITE", b"INVITE", b"INVITE", b"BYE", b"OPTIONS", b"CANCEL", b"ACK")
STATUSES = (100, 180, 183, 200, 200, 302, 404, 486, 487, 503, 603)


@pytest.mark.parametrize("seed", range(20))
def test_chaos_ends_in_silence(seed: int) -> None:
    chance = random.Random(seed)
    world = World(limit=30)
    hops = [world.udp, world.tcp, Wire("tcp2", reliable=True)]
    servers: list[ServerTransaction] = []
    clients: list[ClientTransaction] = []
    ended: set[int] = set()

    def note(effects: list[object]) -> None:
        for effect in effects:
            if isinstance(effect, NewRequest):
                servers.append(effect.txn)
            elif isinstance(effect, Received):
                assert effect.txn in clients
            elif isinstance(effect, TimedOut | Unacknowledged):
                assert id(effect.txn) not in ended, "told twice"
                ended.add(id(effect.txn))

    for step in range(400):
        deed = chance.randrange(10)
        hop = chance.choice(hops)
        branch = b"z9hG4bK%d" % chance.randrange(12)
        if deed <= 2:
            note(world.receive(request(chance.choice(METHODS), branch), hop))
        elif deed == 3:
            note(world.receive(ack_for(request(branch=branch), respond(request(), 486, to_tag=b"b")), hop))
            note(world.receive(cancel_for(request(branch=branch)), hop))
        elif deed == 4 and servers:
            txn = chance.choice(servers)
            answer = respond(request(txn.method), chance.choice(STATUSES), to_tag=b"b")
            note(world.note(world.table.respond(txn, answer, world.now)))
        elif deed == 5:
            retry = chance.choice((Retry(), Retry(max_sends=3), Retry(interval=1.0, factor=1.0, give_up=5.0)))
            method = chance.choice((b"INVITE", b"BYE"))
            txn_, effects = world.table.request(request(method, b"z9hG4bKours%d" % step), hop, world.now, retry=retry)
            clients.append(txn_)
            note(world.note(effects))
        elif deed == 6 and clients:
            asked = chance.choice(clients)
            answer = respond(request(asked.method, asked.branch), chance.choice(STATUSES), to_tag=b"b")
            note(world.receive(answer, hop))
        elif deed == 7 and clients:
            asked = chance.choice(clients)
            choice = chance.randrange(3)
            if choice == 0:
                note(world.note(world.table.move(asked, hop, world.now)))
            elif choice == 1:
                note(world.note(world.table.cancel(asked, world.now)))
            else:
                world.table.abandon(asked, world.now)
        elif deed == 8 and chance.random() < 0.2:
            note(world.note(world.table.lost(hop, world.now)))
        else:
            note(world.pass_time(chance.choice((0.01, 0.3, 1.0, 4.0, 20.0))))
        alive = [txn for txn in (*servers, *clients) if txn.state is not State.TERMINATED]
        assert len(world.table) >= len(alive)
        assert all(txn.armed for txn in alive)
    note(world.pass_time(1300))
    assert len(world.table) == 0
    assert world.table.deadline() is None
    assert not any(txn.armed for txn in (*servers, *clients))
    assert not world.table._by_hop
