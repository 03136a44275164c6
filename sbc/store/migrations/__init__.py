"""Alembic migrations, run by `sbc.store.migrate`. In: a connection in a transaction. Out: the schema of `tables.py`.

Read `versions/` in order. A migration is never changed once it was released.
"""
