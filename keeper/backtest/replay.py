"""Policies over positions over history: every row a position under a policy, stepped through together.

One step is five minutes. In each, in this order:

1. The feed's round, if there is one, moves health. Who is below 1 is liquidated in the round's own
   block, again and again while it stays below 1.
2. What was sent earlier lands, if it is due: a response of less than a step lands before the next
   round, one of n to n + 1 steps after n more rounds. It misses its block with the probability
   `failure` and is tried again at the next step; what is not wanted any more is dropped.
3. The policy sees the round and decides: by the live `decide`, by the sizes of `sizing` within the
   live cost guard.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from keeper.backtest.lanes import Chances, Lanes, Rules
from keeper.backtest.ledger import LIQUIDATION, RESERVE, SWAP, Events, Ints, Ledger
from keeper.backtest.positions import Positions
from keeper.backtest.sizing import CARRY, Need, for_debt, sized
from keeper.backtest.terms import (
    CLOSE_ALL_BELOW,
    CLOSE_FACTOR,
    depth_factor,
    failure,
    gas_factor,
    slippage,
)
from keeper.backtest.tracks import STEP_S
from keeper.forecast.calibration import Calibration
from keeper.model.book import Floats
from keeper.policy.decide import decide, disarm
from keeper.policy.plan import RESPONSE_DEVIATIONS
from keeper.policy.worth import share_at

CHUNK: Final = 2_000
"""Positions stepped through together: their arrays stay in the processor's cache."""
LOOKS_A_STEP: Final = 2
"""A quick response has time for a second action before the next round: the pool after the reserve."""
MOST_LIQUIDATIONS: Final = 12
"""Of one position in one block: each takes half of the debt or all, so that dust is left."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replayed:
    """(policies, positions) arrays: cost in USD, number of actions and of liquidations, and whether
    an action lowered health."""

    policies: tuple[str, ...]
    cost_usd: Floats
    actions: Ints
    liquidations: Ints
    lowered: NDArray[np.bool_]
    events: Events


def replay(
    positions: Positions,
    rules: Rules,
    *,
    seed: int,
    calibration: Calibration | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Every position under every rule. `told` hears of position-steps as they are done. Deterministic
    by the seed, and for each rule whatever the others are."""
    parts = []
    for n, begin in enumerate(range(0, len(positions), CHUNK)):
        some = positions.where(np.arange(begin, min(begin + CHUNK, len(positions))))
        run = _Run(some, rules, Chances(some, rules, calibration), np.random.default_rng([seed, n]))
        found = run.all_steps(told)
        parts.append(replace(found, position=found.position + begin))
    return _summed(tuple(rules), len(positions), Events.joined(parts))


def _summed(policies: tuple[str, ...], count: int, events: Events) -> Replayed:
    at = (events.policy, events.position)
    acted = events.kind != LIQUIDATION

    def total(values: Floats | NDArray[np.bool_]) -> Floats:
        found = np.zeros((len(policies), count))
        np.add.at(found, at, values)
        return found

    return Replayed(
        policies=policies,
        cost_usd=total(events.cost_usd),
        actions=total(acted).astype(np.intp),
        liquidations=total(~acted).astype(np.intp),
        lowered=total(acted & (events.health_after <= events.health_before)) > 0,
        events=events,
    )


class _Run:
    """The state of some positions under all rules, row by row as in `Lanes`."""

    def __init__(
        self, positions: Positions, rules: Rules, chances: Chances, random: np.random.Generator
    ) -> None:
        self._positions, self._random, self._chances = positions, random, chances
        self._lanes = Lanes.of(positions, rules)
        lengths = [len(track.oracle) for track in positions.tracks]
        begins = (np.cumsum(lengths) - lengths).astype(np.intp)
        self._first: Ints = begins[positions.track] + positions.first
        self._oracle, self._move, self._volatility = (
            np.concatenate([getattr(track, name) for track in positions.tracks])
            for name in ("oracle", "move", "volatility")
        )
        count = len(rules)
        self._collateral = np.tile(positions.collateral, count)
        self._debt = np.tile(positions.debt, count)
        self._reserve = np.tile(positions.reserve_share * positions.debt, count)
        self._ratio = self._collateral * self._lanes.threshold / self._debt
        self._paid, self._swapped = np.zeros_like(self._debt), np.zeros_like(self._debt)
        self._due = np.full(len(self._debt), -1, dtype=np.intp)
        self._armed = np.ones(len(self._debt), dtype=np.bool_)
        self._ledger = Ledger()
        self._step = 0
        self._now: Ints = self._first

    def all_steps(self, told: Callable[[int], None]) -> Events:
        """Live through it."""
        last = self._positions.steps
        for self._step in range(int(last.max()) + 1):
            self._now = self._first + np.minimum(self._step, last)
            health = (self._ratio.reshape(-1, len(last)) * self._oracle.take(self._now)).ravel()
            ended = self._step > last
            if ended.any():
                health[np.tile(ended, len(health) // len(last))] = np.nan
            luck = self._random.random(len(last))
            self._liquidate(np.flatnonzero(health < 1.0), health)
            self._land(np.flatnonzero(self._due == self._step), health, luck)
            for _ in range(LOOKS_A_STEP):
                quick = self._act(health)
                if not len(quick):
                    break
                self._land(quick, health, luck)
            told(int(np.count_nonzero(~ended)) * (len(health) // len(last)))
        return self._ledger.events()

    def _act(self, health: Floats) -> Ints:
        """Decide, size and send. Returns the rows whose response is quicker than a step."""
        chances = self._chances.at(self._now, health)
        decided = decide(health, chances, self._lanes.triggers, self._armed)
        self._armed = decided.armed
        rows = np.flatnonzero((decided.floor | decided.forecast) & (self._due < 0))
        if not len(rows):
            return rows
        size = sized(self._need(rows, health[rows]))
        acts = size.paid + size.swapped > 0.0
        rows = rows[acts]
        self._paid[rows], self._swapped[rows] = size.paid[acts], size.swapped[acts]
        self._due[rows] = self._step + self._lanes.delay[rows]
        quick: Ints = rows[self._lanes.delay[rows] == 0]
        return quick

    def _need(self, rows: Ints, health: Floats) -> Need:
        lanes, debt, target = self._lanes, self._debt[rows], self._lanes.target[rows]
        move, penalty = self._seen(self._move, rows), lanes.penalty[rows]
        window = np.sqrt(lanes.latency_s[rows]) * self._seen(self._volatility, rows)
        share = share_at(
            health, lanes.guard_share[rows], lanes.guard_steepness[rows], lanes.most_share[rows]
        )
        return Need(
            value=self._collateral[rows] * self._seen(self._oracle, rows),
            debt=debt,
            threshold=lanes.threshold[rows],
            floor=lanes.triggers.floor[rows],
            target=target,
            reserve=np.where(lanes.pool_only[rows], 0.0, self._reserve[rows]),
            fee=lanes.fee[rows],
            depth=lanes.depth[rows] * depth_factor(move),
            slippage=slippage(health, target, penalty),
            gas=lanes.gas[rows] * gas_factor(move),
            most_cash=share * penalty * CLOSE_FACTOR * debt,
            surviving=np.exp(RESPONSE_DEVIATIONS * window),
            least=1.0 / lanes.usd[rows],
        )

    def _land(self, rows: Ints, health: Floats, luck: Floats) -> None:
        lanes = self._lanes
        missed = luck[rows % lanes.columns] < failure(self._seen(self._move, rows))
        self._due[rows] = np.where(missed, self._step + 1, -1)
        # Neither a position that owes nothing any more nor one whose time is up has a health.
        rows = rows[~missed & (health[rows] < lanes.target[rows])]
        if not len(rows):
            return
        price, move, usd = (
            self._seen(self._oracle, rows),
            self._seen(self._move, rows),
            lanes.usd[rows],
        )
        paid = np.minimum(self._paid[rows], self._debt[rows])
        bought = np.minimum(self._swapped[rows], self._debt[rows])
        sold = for_debt(bought, lanes.fee[rows], lanes.depth[rows] * depth_factor(move))
        given = sold <= self._collateral[rows] * price
        bought, sold = np.where(given, bought, 0.0), np.where(given, sold, 0.0)
        before = health[rows]
        self._reserve[rows] -= paid
        self._debt[rows] -= paid + bought
        self._collateral[rows] -= sold / price
        self._revalue(rows, health, price)
        fee = lanes.fee[rows] * sold
        self._note(
            rows,
            np.where(paid > 0.0, RESERVE, SWAP),
            repaid=paid + bought,
            sold=sold,
            health_before=before,
            health_after=health[rows],
            gas_usd=lanes.gas[rows] * gas_factor(move) * usd,
            swap_fee_usd=fee * usd,
            impact_usd=(sold - bought - fee) * usd,
            carry_usd=CARRY * paid * usd,
        )
        reached = health[rows] >= lanes.target[rows] * (1.0 - 1e-9)
        self._armed = disarm(self._armed, rows[reached].tolist())

    def _liquidate(self, rows: Ints, health: Floats) -> None:
        lanes = self._lanes
        for _ in range(MOST_LIQUIDATIONS):
            if not len(rows):
                return
            before, debt, bonus = health[rows], self._debt[rows], 1.0 + lanes.penalty[rows]
            price = self._seen(self._oracle, rows)
            most = np.where(before > CLOSE_ALL_BELOW, CLOSE_FACTOR, 1.0) * debt
            repaid = np.minimum(most, self._collateral[rows] * price / bonus)
            self._collateral[rows] -= repaid * bonus / price
            self._debt[rows] -= repaid
            self._revalue(rows, health, price)
            self._note(
                rows,
                LIQUIDATION,
                repaid=repaid,
                sold=repaid * bonus,
                health_before=before,
                health_after=health[rows],
                penalty_usd=repaid * lanes.penalty[rows] * lanes.usd[rows],
            )
            rows = rows[health[rows] < 1.0]

    def _seen(self, values: Floats, rows: Ints) -> Floats:
        """What stands at this step for these rows."""
        return values.take(self._now.take(rows % self._lanes.columns))

    def _revalue(self, rows: Ints, health: Floats, price: Floats) -> None:
        """After amounts changed. Who owes nothing any more, or has nothing, is nobody's concern."""
        debt, usd = self._debt[rows], self._lanes.usd[rows]
        lives = (debt * usd > 1e-6) & (self._collateral[rows] * price * usd > 1e-6)
        worth = self._collateral[rows] * self._lanes.threshold[rows]
        self._ratio[rows] = np.where(lives, worth / np.where(lives, debt, 1.0), np.nan)
        health[rows] = self._ratio[rows] * price

    def _note(
        self,
        rows: Ints,
        kind: Ints | int,
        *,
        repaid: Floats,
        sold: Floats,
        health_before: Floats,
        health_after: Floats,
        **costs: Floats,
    ) -> None:
        place = rows % self._lanes.columns
        self._ledger.note(
            policy=rows // self._lanes.columns,
            position=place,
            kind=kind,
            time=self._positions.starts[place] + STEP_S * self._step,
            price=self._seen(self._oracle, rows),
            repaid=repaid,
            sold=sold,
            health_before=health_before,
            health_after=health_after,
            **costs,
        )
