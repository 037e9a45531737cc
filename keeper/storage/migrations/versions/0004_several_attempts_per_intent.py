"""Several attempts per intent, urgency, and fillers of nonce gaps"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Apply. Each intent so far has one attempt, signed at the head it was planned for."""
    op.add_column("intents", sa.Column("urgency", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("intents_by_decision", "intents", ["decision_id"], unique=False)
    op.create_index("intents_by_episode", "intents", ["episode"], unique=False)
    op.add_column(
        "nonce_slots", sa.Column("filler", sa.Boolean(), nullable=False, server_default="0")
    )
    op.create_index("nonce_slots_by_intent", "nonce_slots", ["intent_id"], unique=False)
    op.add_column(
        "attempts", sa.Column("purpose", sa.String(), nullable=False, server_default="call")
    )
    op.add_column(
        "attempts", sa.Column("head_number", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("attempts", sa.Column("l1_fee_wei", sa.String(), nullable=True))
    op.create_index("attempts_by_intent", "attempts", ["intent_id"], unique=False)
    op.create_index("attempts_by_block", "attempts", ["block_number"], unique=False)
    op.execute(
        "UPDATE attempts SET head_number ="
        " (SELECT head_number FROM intents WHERE intents.id = attempts.intent_id)"
    )
