"""HA1s of one password by several hashes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("users", sa.Column("more_ha1", sa.LargeBinary(), nullable=True))
