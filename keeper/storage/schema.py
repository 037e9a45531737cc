"""The tables. Chain quantities are decimal text: SQLite's integers end at 64 bits."""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)


class BigInteger(TypeDecorator[int]):
    """A Python integer of any size, stored as decimal text."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy signature
        """To text."""
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy signature
        """From text."""
        return None if value is None else int(value)


REVISION = "0006"
"""The newest migration's, which leads to these tables."""

metadata = MetaData()

_POSITION = ("chain_id", "market", "account")


def _position_columns() -> tuple[Column[Any], ...]:
    return (
        Column("chain_id", Integer, nullable=False),
        Column("market", String, nullable=False),
        Column("account", String, nullable=False),
    )


episodes = Table(
    "episodes",
    metadata,
    Column("id", Integer, primary_key=True),
    *_position_columns(),
    Column("opened_block", Integer, nullable=False),
    Column("closed_block", Integer),
    Index(
        "one_open_episode", *_POSITION, unique=True, sqlite_where=Column("closed_block").is_(None)
    ),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    *_position_columns(),
    Column("label", String, nullable=False),
    Column("head_number", Integer, nullable=False),
    Column("head_hash", String, nullable=False),
    Column("timestamp", Integer, nullable=False),
    Column("cause", String, nullable=False),
    Column("approved", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("kind", String),
    Column("amount_raw", BigInteger),
    Column("token_address", String),
    Column("token_symbol", String),
    Column("token_decimals", Integer),
    Column("moved_usd8", BigInteger),
    Column("health_before", BigInteger, nullable=False),
    Column("predicted_health", BigInteger),
    Column("document", JSON, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("decision_id", ForeignKey("decisions.id"), primary_key=True),
    Column("succeeded", Boolean, nullable=False),
    Column("block_number", Integer, nullable=False),
    Column("health_after", BigInteger),
    Column("worsened", Boolean, nullable=False),
    Column("differences", JSON, nullable=False),
)

intents = Table(
    "intents",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("decision_id", ForeignKey("decisions.id"), nullable=False),
    Column("episode", ForeignKey("episodes.id"), nullable=False),
    Column("step", Integer, nullable=False),
    *_position_columns(),
    Column("signer", String, nullable=False),
    Column("to", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("value_wei", BigInteger, nullable=False),
    Column("purpose", String, nullable=False),
    Column("head_number", Integer, nullable=False),
    Column("deadline_block", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("urgency", Integer, nullable=False, server_default="0"),
    Index("intents_by_state", "state"),
    Index("intents_by_decision", "decision_id"),
    Index("intents_by_episode", "episode"),
)

nonce_slots = Table(
    "nonce_slots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("chain_id", Integer, nullable=False),
    Column("signer", String, nullable=False),
    Column("nonce", Integer, nullable=False),
    Column("intent_id", ForeignKey("intents.id"), nullable=False),
    # Below the intent's own nonce, where a no-op stands for somebody else's lost transaction.
    Column("filler", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("chain_id", "signer", "nonce", name="one_intent_per_nonce"),
    Index("nonce_slots_by_intent", "intent_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("intent_id", ForeignKey("intents.id"), nullable=False),
    Column("purpose", String, nullable=False, server_default="call"),
    Column("nonce", Integer, nullable=False),
    Column("hash", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("gas_limit", Integer, nullable=False),
    Column("max_fee_wei", BigInteger, nullable=False),
    Column("priority_fee_wei", BigInteger, nullable=False),
    Column("head_number", Integer, nullable=False, server_default="0"),
    Column("block_number", Integer),
    Column("block_hash", String),
    Column("succeeded", Boolean),
    Column("gas_used", Integer),
    Column("effective_gas_price_wei", BigInteger),
    Column("l1_fee_wei", BigInteger),
    # Not unique: journals of version 1 freed the slots of signed bytes, and may hold them twice.
    Index("attempts_by_hash", "hash"),
    Index("attempts_by_intent", "intent_id"),
    Index("attempts_by_block", "block_number"),
)

observations = Table(
    "observations",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("market", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("label", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("head_number", Integer, nullable=False),
    Column("timestamp", Integer, nullable=False),
    Column("health", BigInteger),
    Column("floor", BigInteger, nullable=False),
    Column("target", BigInteger, nullable=False),
    Column("breach_probability", Float),
    Column("distance", Float),
    Column("volatility_per_year", Float),
    Column("forecast_model", String, nullable=False),
    Column("collateral_usd8", BigInteger, nullable=False),
    Column("debt_usd8", BigInteger, nullable=False),
    Column("armed", Boolean, nullable=False),
    Column("note", String, nullable=False),
)

prospects = Table(
    "prospects",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("market", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("head_number", Integer, nullable=False),
    Column("timestamp", Integer, nullable=False),
    Column("document", JSON, nullable=False),
)

# What was seen of a position on one day (Unix days, the chain's time), a few times a minute.
days = Table(
    "days",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("market", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("label", String, nullable=False),
    Column("lowest_health", Float),
    Column("highest_probability", Float),
    # Sums over the samples, so that the day's means can be told.
    Column("reserve_usd", Float, nullable=False),
    Column("debt_usd", Float, nullable=False),
    Column("collateral_usd", Float, nullable=False),
    Column("samples", Integer, nullable=False),
)

wishes = Table(
    "wishes",
    metadata,
    Column("id", Integer, primary_key=True),
    *_position_columns(),
    Column("verb", String, nullable=False),
    Column("token", String),
    Column("usd8", BigInteger),
    Column("made_at", Float, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False, server_default=""),
    Column("decision_id", ForeignKey("decisions.id")),
)

feed_rounds = Table(
    "feed_rounds",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("feed", String, primary_key=True),
    Column("round_id", BigInteger, primary_key=True),
    Column("answer", BigInteger, nullable=False),
    Column("decimals", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Index("feed_rounds_by_time", "chain_id", "feed", "updated_at"),
)

feeds = Table(
    "feeds",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("feed", String, primary_key=True),
    Column("pair", String, nullable=False),
)

candles = Table(
    "candles",
    metadata,
    Column("pair", String, primary_key=True),
    Column("venue", String, primary_key=True),
    Column("step_s", Integer, primary_key=True, autoincrement=False),
    Column("start", Integer, primary_key=True, autoincrement=False),
    Column("open", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("close", Float, nullable=False),
    # Rows are looked for by their key alone: without a second tree the file is half as large.
    sqlite_with_rowid=False,
)

pair_fits = Table(
    "pair_fits",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("pair", String, primary_key=True),
    Column("fitted_at", Integer, nullable=False),
    Column("document", JSON, nullable=False),
)

starts = Table(
    "starts",
    metadata,
    Column("chain_id", Integer, primary_key=True),
    Column("market", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("health", BigInteger, nullable=False),
    Column("timestamp", Integer, nullable=False),
)
