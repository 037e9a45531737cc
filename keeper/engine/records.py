"""What the engine writes down, for `keeper status`, `history` and `explain`."""

from dataclasses import asdict
from datetime import UTC, datetime
from math import expm1, isfinite, sqrt
from typing import Any, Final

from keeper.chain.prepare import Prepared
from keeper.engine.outlook import Outlook
from keeper.engine.watch import Watched
from keeper.mandate.charter import Charter
from keeper.model.records import DecisionRecord, Observation
from keeper.model.units import SECONDS_PER_YEAR, Wad, float_from_wad
from keeper.model.values import Action, Deleverage, Head, PositionState
from keeper.policy.consider import Considered
from keeper.policy.costs import Costs
from keeper.policy.plan import Plan, Refused

FAR_FUTURE_S: Final = 253_370_764_800
"""The year 9999, beyond which Python's calendar does not go."""

MISCALIBRATION: Final = (
    "on the same volatility, what it put at 1 to 5 % in 2022 and 2023 came true 2.4 times as often "
    "within 1 h, 1.7 times within 4 h and within 24 h"
)
"""Of the closed form, as `keeper forecast score` measured it."""


def observation(
    *,
    head: Head,
    row: int,
    watched: Watched,
    position: PositionState,
    outlook: Outlook,
    armed: bool,
    note: str,
) -> Observation:
    """The position as it stands at a head."""
    ahead = outlook.forecast
    return Observation(
        position=watched.id,
        label=watched.label,
        policy=watched.policy.name,
        head_number=head.number,
        timestamp=head.timestamp,
        health=position.health,
        floor=watched.policy.floor,
        target=watched.policy.target,
        breach_probability=_finite(ahead.probability[row]),
        distance=_finite(ahead.distance[row]),
        volatility_per_year=_finite(ahead.volatility_per_year[row]),
        forecast_model=outlook.source_of(row),
        collateral_usd8=position.collateral_usd8,
        debt_usd8=position.debt_usd8,
        armed=armed,
        note=note,
    )


def decision_record(
    *,
    head: Head,
    row: int,
    watched: Watched,
    outlook: Outlook,
    decided: Plan | Refused,
    prepared: Prepared | None,
    approved: bool,
    reason: str,
    moved_today_usd8: int,
    charter: Charter | None,
) -> DecisionRecord:
    """A decision with all that went into it. The position has debt: without, nothing is decided."""
    position = decided.before
    if position.health is None:
        raise ValueError(f"{watched.id} has no debt: there is nothing to decide")
    chosen = decided if isinstance(decided, Plan) else None
    return DecisionRecord(
        position=watched.id,
        label=watched.label,
        head_number=head.number,
        head_hash=head.hash,
        timestamp=head.timestamp,
        cause=decided.cause,
        approved=approved,
        reason=reason,
        kind=_kind(chosen),
        amount_raw=chosen.action.amount.raw if chosen else None,
        token=chosen.action.amount.token if chosen else None,
        moved_usd8=chosen.moved_usd8 if chosen else None,
        health_before=position.health,
        predicted_health=chosen.predicted.health if chosen else None,
        document={
            "inputs": _inputs(head, position, outlook),
            "forecast": _forecast(row, watched, outlook),
            "policy": _policy(watched),
            "limits": {
                "moved_last_24h_usd": moved_today_usd8 / 1e8,
                "max_per_action_usd": watched.policy.max_per_action_usd8 / 1e8,
                "max_per_day_usd": watched.policy.max_per_day_usd8 / 1e8,
            },
            **_mandate(watched, charter),
            "options": [_considered(item, chosen) for item in decided.considered],
            **_swap(chosen),
            "transactions": _transactions(prepared),
        },
    )


def _kind(chosen: Plan | None) -> Any:
    return None if chosen is None else type(chosen.action).__name__


def _inputs(head: Head, position: PositionState, outlook: Outlook) -> dict[str, Any]:
    return {
        "block": head.number,
        "block_hash": head.hash,
        "timestamp": head.timestamp,
        "base_fee_gwei": head.base_fee_wei / 1e9,
        "collateral_usd": position.collateral_usd8 / 1e8,
        "debt_usd": position.debt_usd8 / 1e8,
        "oracle_prices_usd": {
            column.label: price
            for column, price in zip(outlook.columns, outlook.prices, strict=True)
            if column.source is not None
        },
    }


def _forecast(row: int, watched: Watched, outlook: Outlook) -> dict[str, Any]:
    """What gave the probability: table, volatility, horizon, distance and the oracles' state."""
    ahead, horizon_s = outlook.forecast, watched.policy.horizon_s
    used = outlook.columns_of(row)
    spread = ahead.volatility_per_year[row] * sqrt(horizon_s / SECONDS_PER_YEAR)
    left = ahead.distance[row] + ahead.gap[row]
    return {
        "breach_probability": _finite(ahead.probability[row]),
        "horizon_s": horizon_s,
        "from": outlook.source_of(row),
        "calibration": _calibration(outlook, row),
        "distance": _finite(ahead.distance[row]),
        "oracle_gap": float(ahead.gap[row]),
        "distance_in_sigma": _finite(left / spread) if spread > 0.0 else None,
        "volatility_per_year": _finite(ahead.volatility_per_year[row]),
        "closed_form": {
            "breach_probability": _finite(outlook.closed_form(row, horizon_s)),
            "uncalibrated": MISCALIBRATION,
        },
        "oracles": [_oracle(outlook, column) for column in used],
        "cold": {
            outlook.columns[column].label: reason
            for column in used
            if (reason := outlook.why_cold[column]) is not None
        },
    }


def _calibration(outlook: Outlook, row: int) -> str | None:
    """The days of the prices that the row's table was fitted on, or all tables where it is no
    pair's own."""
    if outlook.calibration is None:
        return None
    spans = outlook.calibration.spans
    pair = outlook.source_of(row).removeprefix("table ")
    first = min(since for since, _ in spans.values())
    since, until = spans.get(pair, (first, outlook.calibration.until))
    return f"fitted on prices from {_day(since)} to {_day(until)}"


def _day(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def _oracle(outlook: Outlook, column: int) -> dict[str, Any]:
    state = outlook.oracle(column)
    found: dict[str, Any] = {"price": outlook.columns[column].label}
    if state is None:
        return found
    return found | {
        "market_over_oracle": None if state.gap is None else expm1(state.gap),
        "since_round_s": state.since_round_s,
        "deviation": state.deviation,
        "heartbeat_s": state.heartbeat_s,
        "round_is_due": state.round_is_due,
    }


def _policy(watched: Watched) -> dict[str, Any]:
    policy = watched.policy
    return {
        "name": policy.name,
        "floor": float_from_wad(policy.floor),
        "trigger_probability": policy.trigger_probability,
        "target": float_from_wad(policy.target),
        "max_health_to_act": float_from_wad(policy.max_health_to_act),
    }


def _mandate(watched: Watched, charter: Charter | None) -> dict[str, Any]:
    """What the guardian said, where one acts for the account."""
    if watched.guard is None or charter is None or charter.mandate is None:
        return {}
    mandate = charter.mandate
    return {
        "mandate": {
            "guardian": watched.guard.guardian,
            "keeper": mandate.keeper,
            "sources": list(watched.guard.sources),
            "available_usd": charter.available / 1e8,
            "max_health_to_act": float_from_wad(mandate.max_health_to_act),
            "target": float_from_wad(mandate.target),
            "expires": datetime.fromtimestamp(mandate.expiry, UTC).isoformat(sep=" ")
            if mandate.expiry < FAR_FUTURE_S
            else "never",
            "frozen": charter.frozen,
            "hash": "0x" + charter.mandate_hash.hex(),
        }
    }


def _considered(item: Considered, chosen: Plan | None) -> dict[str, Any]:
    taken = chosen is not None and item.action == chosen.action
    return {
        "kind": item.kind,
        "source": item.source,
        "token": item.symbol,
        "route": None if item.route is None else str(item.route),
        "amount": None if item.action is None else str(item.action.amount),
        "moved_usd": item.moved_usd8 / 1e8,
        "costs": _costs(item.costs),
        "health_after": None if item.health_after is None else float_from_wad(item.health_after),
        "reaches_target": item.reaches_target,
        "verdict": "chosen"
        if taken
        else item.rejected or "another costs less, does more or comes first",
    }


def _costs(costs: Costs | None) -> dict[str, float] | None:
    """In USD, the terms that apply."""
    if costs is None:
        return None
    terms = {name.removesuffix("8"): value / 1e8 for name, value in asdict(costs).items() if value}
    return {"cash_usd": costs.cash_usd8 / 1e8, **terms}


def _swap(chosen: Plan | None) -> dict[str, Any]:
    """What else an unwind is besides its amount; as text, since JSON has no such integers."""
    if chosen is None or not isinstance(chosen.action, Deleverage):
        return {}
    action = chosen.action
    return {
        "swap": {
            "sold": str(action.sold),
            "sold_raw": str(action.sold.raw),
            "sold_token": asdict(action.sold.token),
            "route": asdict(action.route),
        }
    }


def _transactions(prepared: Prepared | None) -> list[dict[str, Any]]:
    if prepared is None:
        return []
    return [
        {
            "purpose": transaction.purpose,
            "to": transaction.to,
            "gas_simulated": gas_used,
            "max_fee_gwei": prepared.fees.max_fee_wei / 1e9,
            "priority_fee_gwei": prepared.fees.priority_fee_wei / 1e9,
        }
        for transaction, gas_used in zip(
            prepared.proposal.transactions, prepared.simulation.gas_used, strict=True
        )
    ]


def _finite(value: float) -> float | None:
    """JSON and the database know neither nan nor infinity."""
    return float(value) if isfinite(value) else None


def described(action: Action) -> str:
    """The action in words: `Repay 12.5 USDC`."""
    return f"{type(action).__name__} {action.amount}"


def shown(health: Wad | None) -> float | None:
    """A health factor for a log line."""
    return None if health is None else round(float_from_wad(health), 4)
