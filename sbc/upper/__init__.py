"""Upper servers: the operator's own SIP servers, and our registrations there.

In: the `[[upper]]` and `[routing]` settings, addresses of arriving requests, registrations that fall due, answers to
our own REGISTERs. Out: which server a request came from or should go to, REGISTER requests, new states of
registrations for the store.

Read `servers.py` first (which server is which), then `registration.py` (what one refresh decides, pure) and
`refresher.py` (what carries it out).
"""
