"""Alembic's entry: runs on the connection, and in the transaction, that `sbc.store.migrate` hands over."""

from alembic import context

from sbc.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the transaction is the caller's
    render_as_batch=True,
)
context.run_migrations()
