"""The order in which devices ring, and the route that an upper server wants for its users' requests."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("bindings", sa.Column("q", sa.Double(), server_default=sa.text("1"), nullable=False))
    op.add_column("upper_registrations", sa.Column("service_route", sa.Text(), server_default="", nullable=False))
