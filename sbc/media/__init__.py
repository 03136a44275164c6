"""Media: where RTP goes, and the relay that carries it.

In: session descriptions of offers and answers, with the signalling address they came from. Out: the descriptions to
send on, naming the relay's own ports; statistics at the end of a call; word of streams that fell silent.

Read `calls.py` first: it is what a proxy uses and decides whether media is relayed at all. `engine.py` is the port
behind which relays live, `engines.py` chooses one: `process.py` has a media process (`child.py`; itself `worker.py`
under a `keeper.py`) and speaks with it (`control.py`; `link.py` here, `line.py` there; `remembered.py`: what the next
one is told); `spread.py` is several of those, among which calls are shared; `inline.py` has the relay in this process;
`rtpengine/` asks other programs.

`relay.py` is the relay itself, which knows no Twisted: a `leg.py` for each leg, whose sockets (`sockets.py`,
`channels.py`, `end.py`) `forward.py` serves; `snapshot.py` carries legs over a restart. `offload.py` is the port behind
which the kernel (`kernel/`) forwards what is plain and steady; `pins.py` decides what that is. Pure are `latch.py`
(whose packets are believed), `addresses.py` (where packets may be sent), `ports.py` (which ports are lent; `share.py`:
by which process), `rtp.py` (losses and jitter), `rtcp.py` (what receivers report), `silence.py` (who is heard),
`direct.py` (who needs no relay) and what reads and edits descriptions: `bodies.py`, `sdp.py`, `rewrite.py`.

Where the parties encrypt differently, read `negotiation.py`: which lines of a leg end at the relay. Such a line is a
`crossing.py` of `component.py`s, ports that decrypt, check and encrypt by `srtp.py` with keys out of descriptions or
agreed on by `dtls.py`, and a book (`indexes.py`) of what was sent with them. Pure are `protection.py` (what a
description says of all this), `interwork.py` (what it must say to the other party), `sdes.py`, `ice.py` and `stun.py`.
"""
