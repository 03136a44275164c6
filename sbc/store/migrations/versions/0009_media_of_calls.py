"""What was received of each party of a call."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for party in ("caller", "callee"):
        op.add_column("cdrs", sa.Column(f"{party}_packets", sa.BigInteger(), nullable=True))
        op.add_column("cdrs", sa.Column(f"{party}_lost", sa.BigInteger(), nullable=True))
        op.add_column("cdrs", sa.Column(f"{party}_jitter", sa.Double(), nullable=True))
