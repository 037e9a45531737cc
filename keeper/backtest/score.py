"""Scores of every model over one span of history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Final

import numpy as np

from keeper.backtest.calibrate import Known
from keeper.backtest.models import CLIMATOLOGY, DEFAULT, Model, Question
from keeper.forecast.calibration import HEALTHS
from keeper.forecast.realised import HORIZONS_S, HOUR_S
from keeper.forecast.scores import (
    brier,
    diebold_mariano,
    log_loss,
    observed_over_predicted,
    reliability,
    skill,
)
from keeper.model.book import Floats

POOLED: Final = "pooled"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """Episodes of one horizon and one health, with every model's probability and the outcome."""

    pair: str
    horizon_s: int
    health: float
    origins: Floats
    happened: Floats
    probabilities: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model's scores over one pair, or all, and one horizon."""

    model: str
    default: bool
    pair: str
    horizon_s: int
    n: int
    base_rate: float
    brier_skill: float
    log_skill: float
    calibration_error: float
    observed_over_predicted_1_5: float
    first: int
    last: int
    dm_t: float
    dm_p: float
    """Diebold-Mariano of this model's squared errors against the default's: t > 0, it loses more."""

    def to_json(self) -> dict[str, Any]:
        """As plain values; what cannot be told is null."""
        return {
            name: None if isinstance(value, float) and not isfinite(value) else value
            for name, value in asdict(self).items()
        }


def answers(
    known: Known, models: Mapping[str, Model], *, start: float, end: float
) -> Iterator[Answers]:
    """Ask every model about every episode that begins at or after `start` and ends by `end`."""
    for pair, by_horizon in known.items():
        for horizon, whole in by_horizon.items():
            asked = whole.within(start, end, horizon)
            if not len(asked):
                continue
            for health in HEALTHS:
                question = Question(
                    pair=pair, horizon_s=horizon, health=health, asked=asked, whole=whole
                )
                yield Answers(
                    pair=pair,
                    horizon_s=horizon,
                    health=health,
                    origins=asked.origins,
                    happened=(asked.low <= -question.distance).astype(np.float64),
                    probabilities={name: model(question) for name, model in models.items()},
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Answers of one horizon put together."""

    pair: str
    horizon_s: int
    origins: Floats
    happened: Floats
    probabilities: Mapping[str, Floats]

    @classmethod
    def of(cls, pair: str, parts: Sequence[Answers]) -> "Pool":
        """Of answers of one horizon: models × episodes."""
        return cls(
            pair=pair,
            horizon_s=parts[0].horizon_s,
            origins=np.concatenate([part.origins for part in parts]),
            happened=np.concatenate([part.happened for part in parts]),
            probabilities={
                name: np.concatenate([part.probabilities[name] for part in parts])
                for name in parts[0].probabilities
            },
        )


def pools(given: Sequence[Answers]) -> Iterator[Pool]:
    """All pairs together by horizon, then each pair."""
    names = dict.fromkeys(part.pair for part in given)
    for horizon in HORIZONS_S:
        parts = [part for part in given if part.horizon_s == horizon]
        if parts:
            yield Pool.of(POOLED, parts)
        for name in names:
            own = [part for part in parts if part.pair == name]
            if own:
                yield Pool.of(name, own)


def rows(pool: Pool) -> Iterator[Row]:
    """Every model's scores, with climatology as the reference of both skills."""
    y = pool.happened
    reference = pool.probabilities[CLIMATOLOGY]
    base_brier, base_log = brier(reference, y), log_loss(reference, y)
    hour = ((pool.origins - pool.origins.min()) // HOUR_S).astype(np.intp)
    present = np.bincount(hour) > 0
    for name, p in pool.probabilities.items():
        worse = (p - y) ** 2 - (pool.probabilities[DEFAULT] - y) ** 2
        t, p_value = diebold_mariano(
            np.bincount(hour, weights=worse)[present].astype(np.float64),
            lags=2 * max(1, pool.horizon_s // HOUR_S) + 24,
        )
        yield Row(
            model=name,
            default=name == DEFAULT,
            pair=pool.pair,
            horizon_s=pool.horizon_s,
            n=len(y),
            base_rate=float(y.mean()),
            brier_skill=skill(brier(p, y), base_brier),
            log_skill=skill(log_loss(p, y), base_log),
            calibration_error=reliability(p, y).error,
            observed_over_predicted_1_5=observed_over_predicted(p, y),
            first=int(pool.origins.min()),
            last=int(pool.origins.max()),
            dm_t=t,
            dm_p=p_value,
        )
