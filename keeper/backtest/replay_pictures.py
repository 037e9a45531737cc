"""The pictures of a comparison of policies, as PNG."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keeper.backtest.crashes import Crash, HealthPath
from keeper.backtest.ledger import LIQUIDATION
from keeper.model.book import Floats

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS: Final = (
    "#000000",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#E69F00",
    "#CC79A7",
    "#0072B2",
    "#999999",
)


def costs_and_paths(
    costs: Mapping[str, Floats], crash: Crash | None, paths: Sequence[HealthPath]
) -> bytes:
    """How often an episode cost more than so much, beside one position's health through a crash."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        # A Figure of its own, not pyplot: no window system is asked for, no global state is left.
        figure = Figure(figsize=(13, 5), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
        _costs(left, costs)
        if crash is None:
            right.set_axis_off()
        else:
            _paths(right, crash, paths)
        return _png(figure)


def _costs(axes: Axes, costs: Mapping[str, Floats]) -> None:
    for n, (policy, cost) in enumerate(costs.items()):
        dear = np.sort(cost[cost > 0.0])[::-1]
        share = np.arange(1, len(dear) + 1) / len(cost)
        axes.step(dear, share, where="pre", color=_colour(n), lw=1.4, label=policy)
    axes.set(xscale="log", yscale="log", xlabel="cost of an episode, USD")
    axes.set_ylabel("share of episodes that cost more")
    axes.legend(frameon=False, fontsize=8)


def _paths(axes: Axes, crash: Crash, paths: Sequence[HealthPath]) -> None:
    for n, path in enumerate(paths):
        hours = (path.times - path.times[0]) / 3_600.0
        axes.plot(hours, path.health, color=_colour(n), lw=1.2, label=path.policy)
        own = path.events
        when = (own.time - path.times[0]) / 3_600.0
        for liquidation, marker in ((False, "o"), (True, "X")):
            chosen = (own.kind == LIQUIDATION) == liquidation
            axes.scatter(
                when[chosen],
                own.health_after[chosen],
                color=_colour(n),
                marker=marker,
                s=36,
                zorder=3,
            )
    axes.axhline(1.0, color="#b00020", lw=1, ls="--")
    began = datetime.fromtimestamp(paths[0].times[0], UTC)
    axes.set_title(
        f"{crash.name}, {crash.track.pair} −{crash.fall:.0%}: one position (● action, ✕ liquidation)"
    )
    axes.set(xlabel=f"hours since {began:%Y-%m-%d %H:%M} UTC", ylabel="health")
    axes.legend(frameon=False, fontsize=8)


def _colour(n: int) -> str:
    return COLOURS[n % len(COLOURS)]


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
