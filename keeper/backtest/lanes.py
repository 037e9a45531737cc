"""What stays the same of every row of a replay: its position's terms and its rule's numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from keeper.backtest.ledger import Ints
from keeper.backtest.positions import Positions
from keeper.backtest.tracks import STEP_S
from keeper.forecast.calibration import Calibration
from keeper.forecast.tables import look_up
from keeper.model.book import Floats
from keeper.policy.decide import Triggers
from keeper.policy.rule import Rule, tailored
from keeper.policy.worth import MOST_SHARE

Rules = Mapping[str, Rule | None]
"""By id; None does nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lanes:
    """One entry per row: policy by policy, all positions of each. Amounts in units of the quote,
    `usd` what a unit of it is worth. `delay`: how many more rounds go by before an action lands."""

    columns: int
    triggers: Triggers
    target: Floats
    guard_share: Floats
    guard_steepness: Floats
    most_share: Floats
    pool_only: NDArray[np.bool_]
    fee: Floats
    threshold: Floats
    penalty: Floats
    depth: Floats
    gas: Floats
    usd: Floats
    latency_s: Floats
    delay: Ints

    @classmethod
    def of(cls, positions: Positions, rules: Rules) -> Self:
        """Every position under every rule."""
        each = [_under(positions, rule) for rule in rules.values()]
        count = len(each)

        def all_of(name: str) -> Floats:
            return np.concatenate([columns[name] for columns in each])

        def same(values: Floats) -> Floats:
            return np.tile(values, count)

        target = all_of("target")
        steepness = all_of("steepness")
        return cls(
            columns=len(positions),
            triggers=Triggers(
                floor=all_of("floor"),
                trigger_probability=all_of("trigger"),
                forecast_below=np.where(np.isnan(all_of("trigger")), 0.0, target),
            ),
            target=target,
            guard_share=all_of("share"),
            guard_steepness=steepness,
            most_share=np.where(steepness > 0.0, MOST_SHARE, np.inf),
            pool_only=all_of("pool_only") > 0.0,
            fee=all_of("fee"),
            threshold=same(positions.threshold),
            penalty=same(positions.term("penalty")),
            depth=same(positions.term("depth_usd") / positions.quote_usd),
            gas=same(positions.gas_usd / positions.quote_usd),
            usd=same(positions.quote_usd),
            latency_s=same(positions.latency_s),
            delay=same(positions.latency_s // STEP_S).astype(np.intp),
        )


def _under(positions: Positions, rule: Rule | None) -> dict[str, Floats]:
    """A rule's numbers for each position; one that does not serve a position never acts on it."""
    count = len(positions)
    none = np.zeros(count)
    if rule is None:
        return {
            "floor": none,
            "target": none + 1.0,
            "trigger": none + np.nan,
            "share": none,
            "steepness": none,
            "pool_only": none,
            "fee": none,
        }
    own = tailored(rule, positions.pairs, positions.health_start, positions.latency_s)
    serves = positions.debt * positions.quote_usd >= rule.least_debt_usd
    fee = positions.term("swap_fee") if rule.swap_fee_share is None else rule.swap_fee_share
    return {
        "floor": np.where(serves, own.triggers.floor, 0.0),
        "target": own.target,
        "trigger": np.where(serves, own.triggers.trigger_probability, np.nan),
        "share": none + (np.inf if rule.guard_share is None else rule.guard_share),
        "steepness": rule.guard_steepness / own.pair_share,
        "pool_only": none + float(rule.means == "pool only"),
        "fee": none + fee + rule.service_fee_share,
    }


class Chances:
    """Breach probabilities of the rows that have a trigger, from the calibrated tables."""

    def __init__(self, positions: Positions, rules: Rules, calibration: Calibration | None) -> None:
        """Without a calibration there is no forecast, and triggers do nothing."""
        self._count = len(rules) * len(positions)
        self._parts: list[tuple[slice, Floats, Floats, Ints]] = []
        if calibration is None:
            return
        for n, rule in enumerate(rules.values()):
            if rule is None or rule.trigger_probability is None:
                continue
            spread = np.concatenate(
                [
                    t.sigma(calibration, rule.horizon_s) * sqrt(rule.horizon_s)
                    for t in positions.tracks
                ]
            )
            curves = np.stack(
                [
                    calibration.tables.dense(rule.horizon_s, calibration.table_of(t.pair))
                    for t in positions.tracks
                ]
            )
            rows = slice(n * len(positions), (n + 1) * len(positions))
            self._parts.append((rows, spread, curves, positions.track))

    def at(self, now: Ints, health: Floats) -> Floats:
        """Of every row; nan where there is no trigger. `now` is each position's place among all
        steps of all tracks."""
        found = np.full(self._count, np.nan)
        for rows, spread, curves, table in self._parts:
            with np.errstate(invalid="ignore", divide="ignore"):
                distance = np.maximum(np.log(health[rows]), 0.0)
            z = np.nan_to_num(distance / np.maximum(spread.take(now), 1e-12), nan=np.inf)
            found[rows] = np.where(np.isnan(health[rows]), np.nan, look_up(curves, table, z))
        return found
