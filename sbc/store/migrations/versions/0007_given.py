"""What upper servers give with a registration, and what names the device of a mirrored one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for name in ("contact_params", "associated", "gruus"):
        op.add_column("upper_registrations", sa.Column(name, sa.Text(), server_default="", nullable=False))
