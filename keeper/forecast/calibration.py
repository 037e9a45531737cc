"""What was fitted on histories and ships: the volatility's forecast, the tables, and where from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from keeper.forecast.realised import HORIZONS_S, WINDOWS_S, LogHar, rounded
from keeper.forecast.tables import GRID, POOLED, Tables
from keeper.model.book import Floats

VERSION: Final = 1
HEALTHS: Final = (1.01, 1.03, 1.05, 1.10, 1.20)
"""At which forecasts are scored, and climatology is kept."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Volatility and breach probability of any pair, from its variance so far.

    `spans` says of each pair from when to when (Unix seconds) it was fitted; `inputs` the SHA-256 of
    each file by name. Where nothing of a pair was fitted, the pooled table and level serve.
    `climatology`: by pair and for all of them, (horizons, `HEALTHS`), how often breaches happened in
    the data of the fit; nan where it held no episode. A reference for scores, no forecast.
    """

    har: LogHar
    tables: Tables
    climatology: Mapping[str, Floats]
    spans: Mapping[str, tuple[int, int]]
    inputs: Mapping[str, str]

    @property
    def until(self) -> int:
        """No price after this moment was used."""
        return max(end for _, end in self.spans.values())

    def table_of(self, pair: str | None) -> str:
        """Which table serves a pair: its own by either name, else the pooled one."""
        return next((name for name in _names(pair) if name in self.tables.reached), "pooled")

    def sigma(
        self, log_rates: Floats, moments: Floats, horizon_s: float, pair: str | None = None
    ) -> Floats:
        """Volatility per √second over the horizon; `log_rates` from `Variation.log_rates`."""
        level = next((name for name in _names(pair) if name in self.har.levels), None)
        return np.exp(0.5 * self.har.log_rate(log_rates, moments, horizon_s, level))

    def probability(
        self, distance: Floats, sigma: Floats | float, horizon_s: float, pair: str | None = None
    ) -> Floats:
        """That a boundary `distance` (log price) away is reached within the horizon."""
        return self.tables.probability(distance, sigma, horizon_s, self.table_of(pair))

    def frequency(self, pair: str, horizon_s: int, health: float) -> float:
        """How often a breach from one of `HEALTHS` happened in the data of the fit: the pair's own,
        where that had episodes of the horizon, else all pairs'; nan if there were none at all."""
        at = HORIZONS_S.index(horizon_s), HEALTHS.index(health)
        found = [self.climatology[name][at] for name in (pair, POOLED) if name in self.climatology]
        return next((float(share) for share in found if not np.isnan(share)), float("nan"))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": VERSION,
            "horizons_s": list(HORIZONS_S),
            "windows_s": list(WINDOWS_S),
            "spans": {pair: list(span) for pair, span in self.spans.items()},
            "inputs": dict(self.inputs),
            "har": self.har.to_json(),
            "tables": self.tables.to_json(),
            "healths": list(HEALTHS),
            "climatology": {pair: rounded(share) for pair, share in self.climatology.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises `ValueError` for what another version has fitted."""
        made = [document.get(name) for name in ("version", "horizons_s", "windows_s", "healths")]
        if made != [VERSION, list(HORIZONS_S), list(WINDOWS_S), list(HEALTHS)]:
            raise ValueError("the calibration is of another version: fit it again")
        try:
            found = cls(
                har=LogHar.from_json(document["har"]),
                tables=Tables.from_json(document["tables"]),
                climatology={
                    pair: np.array(rows, dtype=np.float64)
                    for pair, rows in document["climatology"].items()
                },
                spans={pair: (int(a), int(b)) for pair, (a, b) in document["spans"].items()},
                inputs=document["inputs"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the calibration lacks something ({error!r})") from None
        for pair, table in found.tables.reached.items():
            if (
                table.shape != (len(HORIZONS_S), len(GRID))
                or not ((table >= 0.0) & (table <= 1.0)).all()
            ):
                raise ValueError(f"the table of {pair} is not one of probabilities")
        return found


def _names(pair: str | None) -> tuple[str, ...]:
    """A pair and its inverse: a price and its reciprocal vary alike."""
    if pair is None:
        return ()
    base, _, quote = pair.partition("/")
    return pair, f"{quote}/{base}"
