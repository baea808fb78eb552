"""What watching keeps: polls' memory, stories' vectors, copies' marks, cursors, and what was last told of a verdict."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from weighup.serve.db.tables.base import BigId, Json, Moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ADDED: dict[str, dict[str, Any]] = {
    "feed": {"memory": Json, "evidence": sa.Boolean()},
    "story": {"first": Moment(), "last": Moment(), "size": sa.Integer(), "total": sa.LargeBinary()},
    "feed_item": {
        "entry": sa.String(length=64),
        "lang": sa.String(length=20),
        "source": sa.Text(),
        "copy_of": BigId,
        "mark": sa.LargeBinary(),
        "error": sa.Text(),
        "said": sa.String(length=64),
    },
    "verdict": {
        "due_for": sa.String(length=20),
        "told_probability": sa.Double(),
        "told_label": sa.String(length=20),
    },
}


def upgrade() -> None:
    """Add the columns, all of them empty, and the table of cursors."""
    for table, columns in _ADDED.items():
        for name, kind in columns.items():
            op.add_column(table, sa.Column(name, kind, nullable=True))
    new = sa.text("state = 'new'")
    op.create_index("ix_feed_item_said", "feed_item", ["said"], sqlite_where=new, postgresql_where=new)
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursor")),
    )
    # What stands is taken as told: only what changes from here on adds up to an alert.
    op.execute("UPDATE verdict SET told_probability = probability, told_label = label")
