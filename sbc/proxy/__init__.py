"""Dispatch, target sets and forks, waiting for a wake, dialogs, topology hiding.

In: whole SIP messages with the flow they came on; registrations that the registrar accepted. Out: requests and
responses on flows, orders for pushes, calls for the call log, dialogs for the store.

Read `border.py` first (bytes to messages and back), then `switch.py` (where a request goes), `fork.py` (what becomes
of it, pure; its words are in `branch.py`) and `attempt.py` (what carries that out; `sending.py` with `outgoing.py`,
`answers.py`, `posting.py` and `summons.py` are what it sends, passes back, keeps and pushes). Inside dialogs:
`dialog.py` (pure), `passing.py`, `describing.py` (offers and answers), `lasting.py` and `overdue.py` (what outlives a
restart), `terms.py`, `ending.py` and `farewell.py` (how they end), `ends.py` (where their ends are). `hiding.py` says
what a side gets to see, `references.py` how one dialog is named in another (pure); `calls.py` holds what all of them
share.
"""
