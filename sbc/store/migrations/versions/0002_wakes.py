"""How long devices took to wake."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("push_tokens", sa.Column("wakes", sa.Text(), server_default="", nullable=False))
