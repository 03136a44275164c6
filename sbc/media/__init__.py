"""Media: where RTP goes, and the relay that carries it.

In: session descriptions of offers and answers, with the signalling address they came from. Out: the descriptions to
send on, naming the relay's own ports; statistics at the end of a call; word of streams that fell silent.

Read `calls.py` first: it is what a proxy uses and decides whether media is relayed at all. `engine.py` is the port
behind which relays live, `python.py` the relay in this process: `forward.py` moves the packets and knows no Twisted,
`latch.py` says whose packets are believed, `addresses.py` where packets may be sent, `ports.py` lends the ports.
`sdp.py`, `rewrite.py` and `bodies.py` read and edit descriptions. All but `forward.py`, `python.py` and `calls.py` are
pure.
"""
