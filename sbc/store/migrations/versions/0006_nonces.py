"""Nonces of upper servers, used again after a restart too."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("upper_registrations", sa.Column("nonce", sa.Text(), server_default="", nullable=False))
