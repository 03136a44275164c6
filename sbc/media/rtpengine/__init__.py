"""The relay of other programs: rtpengine daemons, asked by their ng protocol.

In: offers and answers, as any engine gets them. Out: requests to a daemon (bencoded dictionaries over UDP), the
descriptions it answers with, and its counts.

Read `engine.py` first. `daemons.py` asks: repeats, gives up, and knows which daemon is alive. Pure are `bencode.py` and
`ng.py`, which says what is asked for in which case, and what an answer means.
"""
