"""The vectors of claims. Where pgvector is, a column and an index of its own come in addition: `claim_vectors.py`."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty: a claim gets its vector when it is next checked."""
    op.create_table(
        "claim_vector",
        sa.Column("verdict_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=100), nullable=False),
        sa.Column("encoder", sa.String(length=200), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["verdict_id"], ["verdict.id"], name=op.f("fk_claim_vector_verdict_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("verdict_id", name=op.f("pk_claim_vector")),
    )
    op.create_index(op.f("ix_claim_vector_tenant_encoder"), "claim_vector", ["tenant", "encoder"])
