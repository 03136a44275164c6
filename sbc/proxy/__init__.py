"""Dispatch, target sets and forks, waiting for a wake, dialogs, topology hiding.

In: whole SIP messages with the flow they came on; registrations that the registrar accepted. Out: requests and
responses on flows, orders for pushes, calls for the call log, dialogs for the store.

Read `switch.py` first (where a message goes), then `fork.py` (what becomes of a request, pure), `calls.py` (what
carries that out), `dialog.py` (requests inside dialogs, pure) and `hiding.py` (what a side gets to see, pure).
"""
