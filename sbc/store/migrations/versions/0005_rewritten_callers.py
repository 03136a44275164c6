"""Routing rules that give a caller another name."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("routes", sa.Column("rewrite_caller", sa.Text(), server_default="", nullable=False))
