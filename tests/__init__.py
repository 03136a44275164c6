"""All tests. ``unit``: pure code, and Twisted code in memory. ``long``: what takes longer than those.
``torture``: the IETF's own messages. ``flow``: the whole SBC against the lab. ``peers``: the
whole SBC against programs that are not ours. ``make test`` runs them all."""
