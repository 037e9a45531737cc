"""GJR-GARCH with Student t errors: a challenger for research, through the package `arch`."""

from collections.abc import Mapping

import numpy as np
from arch import arch_model

from keeper.backtest.episodes import Episodes
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.model.book import Floats

DAYS = 7


def daily_variances(known: Mapping[int, Episodes], until: float) -> tuple[Floats, Floats]:
    """Midnights, and at each the variance of each of the next seven days: (n, 7). Fitted on the
    daily returns that ended by `until`, then filtered onwards with those parameters."""
    hourly = known[HOUR_S]
    midnights = (
        np.arange(np.ceil(hourly.origins[0] / DAY_S), hourly.origins[-1] // DAY_S + 1) * DAY_S
    )
    place = np.searchsorted(hourly.origins, midnights, side="right") - 1
    returns = 100.0 * np.diff(hourly.log_price[place])
    ended = midnights[1:]
    model = arch_model(returns, mean="Zero", vol="GARCH", p=1, o=1, q=1, dist="t", rescale=False)
    fitted = model.fit(last_obs=int(np.searchsorted(ended, until, side="right")), disp="off")
    ahead = model.forecast(fitted.params, horizon=DAYS, start=0, reindex=False)
    return ended, np.asarray(ahead.variance, dtype=np.float64) / 1e4
