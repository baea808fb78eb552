"""The arena: answers of systems to compare, and votes on them."""

import sqlalchemy as sa
from alembic import op

from weighup.serve.db.tables.base import Json, Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables, empty."""
    op.create_table(
        "arena_item",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("systems", Json, nullable=False),
        sa.Column("responses", Json, nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("context", sa.Text(), nullable=True),
        sa.Column("category", sa.String(length=100), nullable=True),
        sa.Column("meta", Json, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("changed_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arena_item")),
        sa.UniqueConstraint("tenant", "key", name=op.f("uq_arena_item_tenant_key")),
    )
    op.create_index(op.f("ix_arena_item_tenant_active_votes_id"), "arena_item", ["tenant", "active", "votes", "id"])
    op.create_table(
        "arena_vote",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("voter", sa.String(length=100), nullable=False),
        sa.Column("shown", Json, nullable=False),
        sa.Column("winner", sa.String(length=20), nullable=True),
        sa.Column("ranking", Json, nullable=True),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.CheckConstraint("winner IN ('a', 'b', 'tie', 'both_bad')", name=op.f("ck_arena_vote_winner")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["arena_item.id"], name=op.f("fk_arena_vote_item_id"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arena_vote")),
        sa.UniqueConstraint("tenant", "item_id", "voter", name=op.f("uq_arena_vote_tenant_item_id_voter")),
    )
    op.create_index(op.f("ix_arena_vote_item_id"), "arena_vote", ["item_id"])
    op.create_index(op.f("ix_arena_vote_tenant_voter"), "arena_vote", ["tenant", "voter"])
    op.create_index(op.f("ix_arena_vote_tenant_at_id"), "arena_vote", ["tenant", "at", "id"])
