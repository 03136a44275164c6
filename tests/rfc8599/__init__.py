"""RFC 8599, statement by statement: each test is named by the number that the table in ``docs/rfc8599.rst`` gives it.

Pure statements are in `test_registering.py` and `test_dialogs.py`; `test_flow_*.py` have the SBC between the
laboratory's phones and upper server.
"""
