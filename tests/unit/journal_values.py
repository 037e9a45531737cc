"""Values that a journal keeps, each with its own round figures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keeper.model.lifecycle import TRANSITIONS, State, Urgency
from keeper.model.records import Attempt, DecisionRecord, Intent, Observation, Result
from keeper.model.units import WAD, Token, Wad, Wei
from keeper.model.values import PositionId, Transaction
from keeper.storage.journal import Journal
from tests.unit.fake_rpc import address

CHAIN_ID = 31_337
ALICE = PositionId(chain_id=CHAIN_ID, market="aave", account=address("a1"))
BOB = replace(ALICE, account=address("b2"))
ELSEWHERE = replace(ALICE, chain_id=1)
DOLLAR = Token(address=address("d0"), symbol="DOLLAR", decimals=6)
HUGE = 2**255 + 1
NOW = 1_700_000_000
DAY_S = 86_400


def decision(position: PositionId = ALICE, **changes: Any) -> DecisionRecord:
    values: dict[str, Any] = {
        "position": position,
        "label": "main",
        "head_number": 100,
        "head_hash": "0xhead",
        "timestamp": NOW,
        "cause": "floor",
        "approved": True,
        "reason": "",
        "kind": "Repay",
        "amount_raw": 5,
        "token": DOLLAR,
        "moved_usd8": 7,
        "health_before": Wad(WAD),
        "predicted_health": Wad(2 * WAD),
        "document": {"options": [1, "two", None]},
    }
    return DecisionRecord(**values | changes)


def intent(decision_id: int, episode: int, *, nonce: int = 0, step: int = 0, **more: Any) -> Intent:
    position = more.pop("position", ALICE)
    values: dict[str, Any] = {
        "decision_id": decision_id,
        "position": position,
        "episode": episode,
        "step": step,
        "signer": position.account,
        "transaction": Transaction(to=address("c3"), data=b"\0\1", purpose="Repay"),
        "head_number": 100,
        "deadline_block": 105,
        "urgency": Urgency.ROUTINE,
        "nonce": nonce,
        "attempts": (attempt(position, nonce),),
        "state": State.SIGNED,
    }
    return Intent(**values | more)


def attempt(position: PositionId = ALICE, nonce: int = 0, **changes: Any) -> Attempt:
    values: dict[str, Any] = {
        "nonce": nonce,
        "hash": f"0x{position.account[2:4]}{nonce}",
        "raw": bytes([nonce % 256]),
        "gas_limit": 300_000,
        "max_fee_wei": Wei(HUGE),
        "priority_fee_wei": Wei(1),
        "head_number": 100,
    }
    return Attempt(**values | changes)


def kept(journal: Journal, batch: Sequence[Intent]) -> None:
    """Bring intents into the journal on a way that an intent can take."""
    journal.reserve(
        [
            replace(each, state=State.RESERVED, attempts=())
            if each.state is State.EXPIRED
            else replace(each, state=State.SIGNED)
            for each in batch
        ],
        {},
    )
    for each in batch:
        for state in way_to(each.state):
            journal.move({each.key: state})


def way_to(state: State) -> tuple[State, ...]:
    """What follows RESERVED or SIGNED until a state is reached, by the shortest way."""
    if state is State.EXPIRED:
        return (State.EXPIRED,)
    ways: list[tuple[State, ...]] = [(State.SIGNED,)]
    for way in ways:
        if way[-1] is state:
            return way[1:]
        ways += [(*way, after) for after in sorted(TRANSITIONS[way[-1]]) if after not in way]
    raise AssertionError(f"nothing leads to {state}")


def result(decision_id: int, **changes: Any) -> Result:
    values: dict[str, Any] = {
        "decision_id": decision_id,
        "succeeded": True,
        "block_number": 102,
        "health_after": Wad(HUGE),
        "worsened": False,
        "differences": (),
    }
    return Result(**values | changes)


def observation(position: PositionId = ALICE, **changes: Any) -> Observation:
    values: dict[str, Any] = {
        "position": position,
        "label": "main",
        "policy": "careful",
        "head_number": 100,
        "timestamp": NOW,
        "health": Wad(HUGE),
        "floor": Wad(WAD),
        "target": Wad(WAD),
        "breach_probability": 0.25,
        "distance": None,
        "volatility_per_year": 0.8,
        "forecast_model": "cold",
        "collateral_usd8": HUGE,
        "debt_usd8": HUGE,
        "armed": True,
        "note": "watched",
    }
    return Observation(**values | changes)


def opened(journal: Journal, position: PositionId = ALICE, **changes: Any) -> tuple[int, int]:
    """A decision's id and its episode."""
    return journal.record_decision(decision(position, **changes)), journal.open_episode(
        position, 100
    )
