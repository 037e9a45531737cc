"""The pictures of a report: reliability diagrams and the probability integral transform, as PNG."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keeper.backtest.models import DEFAULT, hours
from keeper.backtest.score import Pool
from keeper.forecast.realised import DAY_S, HOUR_S
from keeper.forecast.scores import block_bands, reliability
from keeper.model.book import Floats

SHOWN_S: Final = (HOUR_S, 4 * HOUR_S, DAY_S)
BLOCK_S: Final = 7 * DAY_S
SEED: Final = 7
# Okabe and Ito's palette, told apart by colour-blind readers.
STYLES: Final = {
    DEFAULT: ("#009E73", "o", "calibrated: table on log-HAR"),
    "brownian_log_har": ("#D55E00", "s", "closed form on the same volatility"),
    "brownian_30d": ("#56B4E9", "^", "closed form on 30-day volatility"),
}


def reliability_picture(pools: Mapping[int, Pool]) -> bytes:
    """Of the pooled forecasts at each shown horizon, beside the closed form, as PNG."""
    return _panels([pools], [""], list(STYLES), height=4.6)


def pairs_picture(pools: Mapping[str, Mapping[int, Pool]]) -> bytes:
    """The daemon's forecast of each pair: one row of diagrams a pair."""
    return _panels(list(pools.values()), list(pools), [DEFAULT], height=3.4)


def _panels(
    rows: Sequence[Mapping[int, Pool]],
    names: Sequence[str],
    models: Sequence[str],
    *,
    height: float,
) -> bytes:
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        # A Figure of its own, not pyplot: no window system is asked for, no global state is left.
        figure = Figure(figsize=(13, height * len(rows)), dpi=110, layout="constrained")
        panels = figure.subplots(len(rows), len(SHOWN_S), squeeze=False)
        for line, pools, name in zip(panels, rows, names, strict=True):
            for axes, horizon in zip(line, SHOWN_S, strict=True):
                if horizon in pools:
                    _diagram(axes, pools[horizon], models)
                axes.set_title(f"{name} within {hours(horizon)}".strip())
            line[0].set_ylabel("how often it happened")
        drawn = next((axes for axes in panels.flat if axes.has_data()), None)
        if drawn is not None:
            drawn.legend(loc="upper left", frameon=False, fontsize=8)
        for axes in panels[-1]:
            axes.set_xlabel("forecast breach probability")
        file = BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()


def _diagram(axes: Axes, pool: Pool, models: Sequence[str]) -> None:
    least = 1e-3
    axes.plot([least, 1], [least, 1], color="#888888", lw=1, ls="--")
    for name in models:
        colour, marker, label = STYLES[name]
        p = pool.probabilities[name]
        curve = reliability(p, pool.happened)
        seen = curve.predicted >= least
        if name == DEFAULT:
            blocks = (pool.origins - pool.origins.min()) // BLOCK_S
            low, high = block_bands(p, pool.happened, blocks, seed=SEED)
            axes.fill_between(
                curve.predicted[seen],
                np.maximum(low[seen], least),
                np.maximum(high[seen], least),
                color=colour,
                alpha=0.2,
                lw=0,
                label="90 % of weekly block bootstraps",
            )
        axes.plot(
            curve.predicted[seen],
            np.maximum(curve.observed[seen], least),
            color=colour,
            marker=marker,
            ms=4,
            lw=1,
            label=label,
        )
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda chance, _: f"{100 * chance:g} %")


def pit_picture(chances: Mapping[str, Floats]) -> bytes:
    """Histograms of the probability integral transform: flat where the tables are right."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(13, 2.8), dpi=110, layout="constrained")
        panels = figure.subplots(1, max(1, len(chances)), squeeze=False, sharey=True)[0]
        for axes, (pair, chance) in zip(panels, chances.items(), strict=False):
            axes.hist(chance, bins=20, range=(0, 1), color="#009E73", density=True)
            axes.axhline(1.0, color="#888888", lw=1, ls="--")
            axes.set_title(pair)
        file = BytesIO()
        figure.savefig(file, format="png")
    return file.getvalue()
