"""The calibration in use: what ships, and over it each pair fitted anew on its own rounds."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from keeper.chain.transactions.seams import RunOnStore
from keeper.forecast.calibration import Calibration
from keeper.forecast.realised import DAY_S
from keeper.forecast.refit import LONGEST_S, PairFit, TooShortError, refit
from keeper.forecast.volatility import RoundSeries
from keeper.model.units import Address
from keeper.storage.pair_fits import PairFits, StoredFit
from keeper.storage.prices import PriceHistory

log = structlog.get_logger()

FIT_EVERY_S = DAY_S
OLD_S = 60 * DAY_S
"""An older fit is left for what ships: it knows nothing of the last two months."""


class FitStore(Protocol):
    """What this needs of the store."""

    @property
    def prices(self) -> PriceHistory: ...
    @property
    def pair_fits(self) -> PairFits: ...
    @property
    def run(self) -> RunOnStore: ...


class Calibrator:
    """One chain's. `load` reads the stored fits once; `refit` adds to them."""

    def __init__(self, *, shipped: Calibration, store: FitStore, chain_id: int) -> None:
        self._shipped = shipped
        self._store = store
        self._chain_id = chain_id
        self._fits: dict[str, PairFit] = {}
        self.calibration = shipped

    async def load(self, now: int) -> None:
        """Take over the stored fits; one that is old or that cannot be read is told and left."""
        for stored in await self._store.run(self._store.pair_fits.all, self._chain_id):
            why = self._take(stored, now)
            if why is not None:
                log.warning(
                    "calibration.unusable",
                    where=f"the stored fit of {stored.pair}",
                    what=why,
                    why="a probability from it would not mean what it says; what ships is used",
                    fix="none needed: it is fitted anew within the day, once its rounds suffice",
                )
        log.info(
            "calibration.loaded",
            shipped_until=self._shipped.until,
            fitted=sorted(self._fits),
        )

    def _take(self, stored: StoredFit, now: int) -> str | None:
        """Use a stored fit, or say why not."""
        try:
            fit = PairFit.from_json(stored.document)
        except ValueError as error:
            return str(error)
        if fit.pair != stored.pair:
            return f"it is of {fit.pair}"
        if not now - OLD_S <= fit.until <= now:
            return (
                f"its rounds end {(now - fit.until) / DAY_S:.0f} days ago, {OLD_S // DAY_S} allowed"
            )
        self._use(fit)
        return None

    async def refit(self, series: Mapping[Address, RoundSeries], now: int) -> None:
        """Fit the pairs of these feeds whose fit is a day old, on up to a year of stored rounds."""
        for feed, rounds in series.items():
            asset = rounds.asset
            if asset is None or asset.name == asset.quote:
                continue
            last = self._fits.get(asset.pair)
            if last is not None and now - last.until < FIT_EVERY_S:
                continue
            try:
                fit = await asyncio.to_thread(
                    refit, self._shipped, asset.pair, await self._year(feed, now), now
                )
            except TooShortError as error:
                log.debug("calibration.cold_start", pair=asset.pair, reason=str(error))
                continue
            stored = StoredFit(pair=fit.pair, fitted_at=now, document=fit.to_json())
            await self._store.run(self._store.pair_fits.keep, self._chain_id, stored)
            self._use(fit)
            log.info("calibration.fitted", pair=fit.pair, since=fit.since, until=fit.until)

    async def _year(self, feed: Address, now: int) -> RoundSeries:
        """The stored rounds of a feed."""
        prices = self._store.prices
        known = await self._store.run(prices.since, self._chain_id, feed, now - LONGEST_S)
        pairs = [(each.price.updated_at, each.price.value) for each in known]
        decimals = known[-1].price.decimals if known else 0
        return RoundSeries.of(pairs, decimals=decimals)

    def _use(self, fit: PairFit) -> None:
        self._fits[fit.pair] = fit
        self.calibration = fit.over(self.calibration)
