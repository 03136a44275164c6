"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_by", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
    )
    op.create_table(
        "audit",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("who", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("action", sa.Text(), server_default="", nullable=False),
        sa.Column("subject", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_table(
        "bans",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("automatic", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("created_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bans")),
        sa.UniqueConstraint("source", name=op.f("uq_bans_source")),
    )
    op.create_table(
        "call_events",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_events")),
    )
    op.create_index(op.f("ix_call_events_at"), "call_events", ["at"], unique=False)
    op.create_index(op.f("ix_call_events_call_id"), "call_events", ["call_id"], unique=False)
    op.create_table(
        "cdrs",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), server_default="", nullable=False),
        sa.Column("callee", sa.Text(), server_default="", nullable=False),
        sa.Column("upper", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("ringing_at", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("ended_by", sa.Text(), server_default="", nullable=False),
        sa.Column("pushed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("woke_after", sa.Double(), nullable=True),
        sa.Column("node", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cdrs")),
    )
    op.create_index(op.f("ix_cdrs_call_id"), "cdrs", ["call_id"], unique=False)
    op.create_index(op.f("ix_cdrs_started_at"), "cdrs", ["started_at"], unique=False)
    op.create_table(
        "dialogs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("node", sa.Text(), server_default="", nullable=False),
        sa.Column("caller", sa.Text(), server_default="", nullable=False),
        sa.Column("callee", sa.Text(), server_default="", nullable=False),
        sa.Column("upper", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dialogs")),
    )
    op.create_index(op.f("ix_dialogs_node"), "dialogs", ["node"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="", nullable=False),
        sa.Column("started_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("seen_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("load", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
    )
    op.create_table(
        "pushes",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("type", sa.Text(), server_default="", nullable=False),
        sa.Column("provider", sa.Text(), server_default="", nullable=False),
        sa.Column("app", sa.Text(), server_default="", nullable=False),
        sa.Column("user_id", KEY, nullable=True),
        sa.Column("sent_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("status", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False),
        sa.Column("latency", sa.Double(), nullable=True),
        sa.Column("woke_after", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pushes")),
    )
    op.create_index(op.f("ix_pushes_call_id"), "pushes", ["call_id"], unique=False)
    op.create_index(op.f("ix_pushes_sent_at"), "pushes", ["sent_at"], unique=False)
    op.create_table(
        "routes",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("method", sa.Text(), server_default="", nullable=False),
        sa.Column("caller", sa.Text(), server_default="", nullable=False),
        sa.Column("called", sa.Text(), server_default="", nullable=False),
        sa.Column("domain", sa.Text(), server_default="", nullable=False),
        sa.Column("days", sa.Text(), server_default="", nullable=False),
        sa.Column("from_time", sa.Text(), server_default="", nullable=False),
        sa.Column("to_time", sa.Text(), server_default="", nullable=False),
        sa.Column("upper", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("changed_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routes")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), server_default="", nullable=False),
        sa.Column("changed_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed_by", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "upper_servers",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), server_default="", nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("trust", sa.Text(), server_default="", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("changed_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upper_servers")),
        sa.UniqueConstraint("name", name=op.f("uq_upper_servers_name")),
    )
    op.create_table(
        "users",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("upper", sa.Text(), nullable=False),
        sa.Column("realm", sa.Text(), server_default="", nullable=False),
        sa.Column("auth_username", sa.Text(), server_default="", nullable=False),
        sa.Column("ha1", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("user_agent", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_seen_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", "domain", "upper", name=op.f("uq_users_username_domain_upper")),
    )
    op.create_table(
        "bindings",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), server_default="", nullable=False),
        sa.Column("reg_id", sa.Integer(), nullable=True),
        sa.Column("transport", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("flow", sa.Text(), server_default="", nullable=False),
        sa.Column("node", sa.Text(), server_default="", nullable=False),
        sa.Column("user_agent", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("cseq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("push", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("path", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="live", nullable=False),
        sa.Column("seen_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_bindings_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bindings")),
        sa.UniqueConstraint("user_id", "identity", name=op.f("uq_bindings_user_id_identity")),
    )
    op.create_index(
        "ix_bindings_expires_at",
        "bindings",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("NOT push"),
        postgresql_where=sa.text("NOT push"),
    )
    op.create_table(
        "messages",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("from_uri", sa.Text(), server_default="", nullable=False),
        sa.Column("to_uri", sa.Text(), server_default="", nullable=False),
        sa.Column("content_type", sa.Text(), server_default="", nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), server_default="", nullable=False),
        sa.Column("received_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_messages_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
    )
    op.create_index(op.f("ix_messages_received_at"), "messages", ["received_at"], unique=False)
    op.create_index(op.f("ix_messages_user_id_state"), "messages", ["user_id", "state"], unique=False)
    op.create_table(
        "push_tokens",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("binding_id", KEY, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("param", sa.Text(), nullable=False),
        sa.Column("prid", sa.LargeBinary(), nullable=False),
        sa.Column("prid_hash", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("purr", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="live", nullable=False),
        sa.Column("registered_at", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("pushed_at", sa.Double(), nullable=True),
        sa.Column("woke_at", sa.Double(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["binding_id"], ["bindings.id"], name=op.f("fk_push_tokens_binding_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_push_tokens_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_tokens")),
        sa.UniqueConstraint("provider", "param", "prid_hash", name=op.f("uq_push_tokens_provider_param_prid_hash")),
    )
    op.create_index(op.f("ix_push_tokens_binding_id"), "push_tokens", ["binding_id"], unique=False)
    op.create_index(op.f("ix_push_tokens_user_id"), "push_tokens", ["user_id"], unique=False)
    op.create_table(
        "upper_registrations",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("binding_id", KEY, nullable=True),
        sa.Column("upper", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("contact_user", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="registered", nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("cseq", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_code", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("next_at", sa.Double(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("node", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["binding_id"], ["bindings.id"], name=op.f("fk_upper_registrations_binding_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_upper_registrations_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upper_registrations")),
        sa.UniqueConstraint("user_id", "contact", name=op.f("uq_upper_registrations_user_id_contact")),
    )
    op.create_index(op.f("ix_upper_registrations_binding_id"), "upper_registrations", ["binding_id"], unique=False)
    op.create_index(op.f("ix_upper_registrations_contact_user"), "upper_registrations", ["contact_user"], unique=False)
    op.create_index(op.f("ix_upper_registrations_next_at"), "upper_registrations", ["next_at"], unique=False)
    # What time it is, in words that both engines understand: (SELECT now_at FROM clock).
    if op.get_bind().dialect.name == "sqlite":
        now = "(julianday('now') - 2440587.5) * 86400.0"
    else:
        now = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    op.execute(f"CREATE VIEW clock AS SELECT {now} AS now_at")
