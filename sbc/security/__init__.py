"""Who is let in, how often, and who is shut out for how long. Pure.

In: the `[security]` section, what the transports and the dispatch saw of a source, the UTC time. Out: yes or no per
datagram and per request, bans to record and to lift.

Read `guard.py` first, then `bans.py` (with the table of offences).
"""
