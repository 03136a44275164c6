"""Routing rules as the router reads them, and users that are barred found at once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NEW = ("direction", "source", "hours", "rewrite", "reason")
OLD = ("from_time", "to_time", "priority", "weight")


def upgrade() -> None:
    for name in NEW:
        op.add_column("routes", sa.Column(name, sa.Text(), server_default="", nullable=False))
    op.add_column("routes", sa.Column("reject", sa.Integer(), server_default=sa.text("0"), nullable=False))
    for name in OLD:
        op.drop_column("routes", name)
    active = sa.text("state <> 'active'")
    op.create_index("ix_users_state", "users", ["state"], sqlite_where=active, postgresql_where=active)
