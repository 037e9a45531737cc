"""What the engine writes down, for `keeper status`, `history` and `explain`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from keeper.chain.prepare import Prepared
from keeper.engine.decided import Decided
from keeper.engine.evidence import finite, forecast, inputs, terms
from keeper.engine.outlook import Outlook
from keeper.engine.reserves import Turn
from keeper.engine.watch import Watched
from keeper.mandate.charter import Charter
from keeper.model.records import DecisionRecord, Observation
from keeper.model.units import Wad, float_from_wad
from keeper.model.values import Action, Deleverage, Head, PositionState, ReducePosition
from keeper.policy.consider import Considered
from keeper.policy.costs import Costs, GasPrice
from keeper.policy.plan import Plan

FAR_FUTURE_S: Final = 253_370_764_800
"""The year 9999, beyond which Python's calendar does not go."""


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
        breach_probability=finite(ahead.probability[row]),
        distance=finite(ahead.distance[row]),
        volatility_per_year=finite(ahead.volatility_per_year[row]),
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
    decided: Decided,
    prepared: Prepared | None,
    approved: bool,
    reason: str,
) -> DecisionRecord:
    """A decision with all that went into it. The position has debt: without, nothing is decided."""
    found, position = decided.plan, decided.plan.before
    if position.health is None:
        raise ValueError(f"{watched.id} has no debt: there is nothing to decide")
    chosen = found if isinstance(found, Plan) else None
    return DecisionRecord(
        position=watched.id,
        label=watched.label,
        head_number=head.number,
        head_hash=head.hash,
        timestamp=head.timestamp,
        cause=found.cause,
        approved=approved,
        reason=reason,
        kind=_kind(chosen),
        amount_raw=chosen.action.amount.raw if chosen else None,
        token=chosen.action.amount.token if chosen else None,
        moved_usd8=chosen.moved_usd8 if chosen else None,
        health_before=position.health,
        predicted_health=chosen.predicted.health if chosen else None,
        document={
            "inputs": {
                **inputs(head, position, outlook),
                "health_terms": terms(row, outlook),
                "native_usd": _native_usd(decided.gas_price),
            },
            "forecast": forecast(row, watched, outlook),
            "policy": _policy(watched),
            "limits": {
                "moved_last_24h_usd": decided.moved_today_usd8 / 1e8,
                "max_per_action_usd": watched.policy.max_per_action_usd8 / 1e8,
                "max_per_day_usd": watched.policy.max_per_day_usd8 / 1e8,
            },
            **_mandate(watched, decided.charter),
            **_reserve(decided.turn),
            "at_stake": _at_stake(decided, watched),
            "options": [_considered(item, chosen) for item in found.considered],
            **_costs_of(chosen),
            **_swap(chosen),
            **_quoted(chosen),
            "transactions": _transactions(prepared),
        },
    )


def _native_usd(gas_price: GasPrice) -> float | None:
    """The chain's coin, where its price is known."""
    native = gas_price.native
    return None if native is None else native.value / 10**native.decimals


def _kind(chosen: Plan | None) -> Any:
    return None if chosen is None else type(chosen.action).__name__


def _policy(watched: Watched) -> dict[str, Any]:
    policy = watched.policy
    return {
        "name": policy.name,
        "floor": float_from_wad(policy.floor),
        "trigger_probability": policy.trigger_probability,
        "target": float_from_wad(policy.target),
        "max_health_to_act": float_from_wad(policy.max_health_to_act),
        "guard_share": policy.guard_share,
        "cooldown_s": policy.cooldown_s,
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


def _reserve(turn: Turn | None) -> dict[str, Any]:
    """Who takes first of a reserve that cannot save all, where that is so."""
    if turn is None:
        return {}
    return {
        "reserve": {
            "holder": turn.holder,
            "cannot_save_all": "first whom a dollar of it spares the most expected loss",
            "order": list(turn.order),
            "left_for_this_one": str(turn.left),
        }
    }


def _at_stake(decided: Decided, watched: Watched) -> dict[str, Any]:
    """What doing nothing may cost, and the most that an action may."""
    expected, share = decided.expected_loss_usd8, watched.policy.guard_share
    return {
        "liquidation_loss_usd": decided.loss_usd8 / 1e8,
        "expected_loss_usd": None if expected is None else expected / 1e8,
        "worth_at_most_usd": share * decided.loss_usd8 / 1e8,
        "urgency": decided.stake.urgency.name.lower(),
    }


def _costs_of(chosen: Plan | None) -> dict[str, Any]:
    """Of the plan as the node tried it, with the gas that it measured."""
    if chosen is None:
        return {}
    more = {"slice": "the rest follows in later blocks"} if chosen.slice else {}
    return {"costs": {**(_costs(chosen.costs) or {}), **more}}


def _considered(item: Considered, chosen: Plan | None) -> dict[str, Any]:
    taken = chosen is not None and chosen.action in (item.action, item.slice and item.slice.action)
    return {
        "kind": item.kind,
        "source": item.source,
        "token": item.symbol,
        "route": None if item.route is None else str(item.route),
        "amount": None if item.action is None else str(item.action.amount),
        "moved_usd": item.moved_usd8 / 1e8,
        "costs": _costs(item.costs),
        "begins_with": None
        if item.slice is None
        else str(item.slice.action and item.slice.action.amount),
        "health_after": None if item.health_after is None else float_from_wad(item.health_after),
        "reaches_target": item.reaches_target,
        "ends_at": item.ends_at,
        "verdict": "chosen"
        if taken
        else item.rejected or "another costs less, does more or comes first",
    }


def _costs(costs: Costs | None) -> dict[str, Any] | None:
    """In USD, the terms that apply."""
    if costs is None:
        return None
    left = costs.loss_left_usd8
    terms = {name.removesuffix("8"): value / 1e8 for name, value in asdict(costs).items() if value}
    return {
        "cash_usd": costs.cash_usd8 / 1e8,
        **terms,
        "loss_left_usd": None if left is None else left / 1e8,
    }


def _quoted(chosen: Plan | None) -> dict[str, Any]:
    """What a reduction was expected to be quoted at worst."""
    if chosen is None or not isinstance(chosen.action, ReducePosition):
        return {}
    quote = chosen.action.quote
    return {
        "quote": {"worst": str(quote), "raw": str(quote.raw), "token": asdict(quote.token)},
    }


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
            "data": "0x" + transaction.data.hex(),
            "value_wei": str(transaction.value_wei),
            "gas_simulated": gas_used,
            "max_fee_gwei": prepared.fees.max_fee_wei / 1e9,
            "priority_fee_gwei": prepared.fees.priority_fee_wei / 1e9,
        }
        for transaction, gas_used in zip(
            prepared.proposal.transactions, prepared.simulation.gas_used, strict=True
        )
    ]


def described(action: Action) -> str:
    """The action in words: `Repay 12.5 USDC`."""
    return f"{type(action).__name__} {action.amount}"


def shown(health: Wad | None) -> float | None:
    """A health factor for a log line."""
    return None if health is None else round(float_from_wad(health), 4)
