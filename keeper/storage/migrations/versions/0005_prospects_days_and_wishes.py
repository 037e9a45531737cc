"""What lies ahead of each position, what each day saw of it, and what its owner wishes"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _position(*, primary_key: bool) -> list[sa.Column[object]]:
    return [
        sa.Column("chain_id", sa.Integer(), nullable=False, primary_key=primary_key),
        sa.Column("market", sa.String(), nullable=False, primary_key=primary_key),
        sa.Column("account", sa.String(), nullable=False, primary_key=primary_key),
    ]


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "prospects",
        *_position(primary_key=True),
        sa.Column("head_number", sa.Integer(), nullable=False),
        sa.Column("timestamp", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
    )
    op.create_table(
        "days",
        *_position(primary_key=True),
        sa.Column("day", sa.Integer(), nullable=False, primary_key=True),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("lowest_health", sa.Float(), nullable=True),
        sa.Column("highest_probability", sa.Float(), nullable=True),
        sa.Column("reserve_usd", sa.Float(), nullable=False),
        sa.Column("debt_usd", sa.Float(), nullable=False),
        sa.Column("collateral_usd", sa.Float(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
    )
    op.create_table(
        "wishes",
        sa.Column("id", sa.Integer(), primary_key=True),
        *_position(primary_key=False),
        sa.Column("verb", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("usd8", sa.String(), nullable=True),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False, server_default=""),
        sa.Column("decision_id", sa.Integer(), sa.ForeignKey("decisions.id"), nullable=True),
    )
