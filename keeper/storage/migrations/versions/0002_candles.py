"""Candles beside the feeds' rounds, and the pair that each feed is of"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "feeds",
        sa.Column("chain_id", sa.Integer(), nullable=False),
        sa.Column("feed", sa.String(), nullable=False),
        sa.Column("pair", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "feed"),
    )
    op.create_table(
        "candles",
        sa.Column("pair", sa.String(), nullable=False),
        sa.Column("venue", sa.String(), nullable=False),
        sa.Column("step_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("open", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("close", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("pair", "venue", "step_s", "start"),
        sqlite_with_rowid=False,
    )
