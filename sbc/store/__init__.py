"""What must survive: users, devices, tokens, upper registrations, dialogs, calls, settings; SQLite or PostgreSQL.

In: operations (`operations.py`, `journal.py`, `housekeeping.py`) through `Store.write`, queries (`queries.py`) through
`Store.read`. Out: Deferreds, fired after the commit; records (`records.py`). Only `service.py`, `worker.py` and the
Failures of `writer.py` and `reader.py` know Twisted; all but `service.py` runs in the store's own threads.

Read `tables.py` first, then `service.py`, `writer.py` and `session.py`.
"""

from sbc.store.operation import Execute, Operation, StoreError
from sbc.store.secret import Secret, SecretError
from sbc.store.service import Store
from sbc.store.settings import DatabaseSettings

__all__ = ["DatabaseSettings", "Execute", "Operation", "Secret", "SecretError", "Store", "StoreError"]
