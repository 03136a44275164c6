"""REGISTER: who the user is, which device, what goes up to the upper server, what is answered here.

In: REGISTER requests with their flow, the upper server's responses. Out: REGISTERs for the upper server, responses for
the phone, users with their bindings and tokens for the store, and the news "this device is awake on this flow".

Read `decide.py` first (pure), then `registrar.py`.
"""
