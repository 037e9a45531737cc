"""The demo as one picture: the price above, the three health factors below, what was done marked."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from keeper.devnet.story import AccountTold
from keeper.devnet.views import BlockView
from keeper.model.units import WAD, Address, Wad

# Okabe and Ito's palette, told apart by colour-blind readers; the lines differ in style as well.
STYLES = {
    "unprotected": ("#D55E00", "-"),
    "fixed": ("#56B4E9", "--"),
    "forecast": ("#009E73", "-"),
}
MARKERS = {"forecast": "^", "floor": "s", "liquidation": "X"}
INK = "#333333"
ROOM_BELOW = 0.12
"""Of the range above liquidation: as much lies below it at least."""


def draw(
    path: Path,
    title: str,
    blocks: Sequence[BlockView],
    weth: Address,
    accounts: Mapping[str, Address],
    told: Sequence[AccountTold],
    floors: Mapping[str, Fraction],
) -> None:
    """Write the picture as PNG. `accounts` gives each twin's address by its name, `floors` the health
    below which the guarded ones are acted for."""
    with mpl.rc_context(
        {
            "font.size": 10,
            "axes.edgecolor": INK,
            "text.color": INK,
            "text.parse_math": False,  # two dollar signs in a label are money, not a formula
            "date.converter": "concise",
        }
    ):
        # A Figure of its own, not pyplot: no window system is asked for, no global state is left.
        figure = Figure(figsize=(11, 7), dpi=130, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
        figure.suptitle(title, fontsize=13, fontweight="bold")
        _prices(above, blocks, weth)
        _healths(below, blocks, accounts, told, floors)
        below.set_xlabel("chain time (UTC)")
        figure.savefig(path, format="png")


def _prices(axes: Axes, blocks: Sequence[BlockView], weth: Address) -> None:
    times = _times(block.timestamp for block in blocks)
    oracle = [block.prices_usd8[weth] / 1e8 for block in blocks]
    axes.plot(times, [b.market_price for b in blocks], color="#999999", lw=0.9, label="pool")
    axes.step(times, oracle, where="post", color=INK, lw=1.3, label="oracle")
    axes.set_ylabel("ETH price (USD)")
    axes.legend(loc="upper right", frameon=False)
    _clean(axes)


def _healths(
    axes: Axes,
    blocks: Sequence[BlockView],
    accounts: Mapping[str, Address],
    told: Sequence[AccountTold],
    floors: Mapping[str, Fraction],
) -> None:
    times = _times(block.timestamp for block in blocks)
    axes.axhline(1.0, color=INK, lw=1.2)
    for story in told:
        color, line = STYLES[story.name]
        if story.name in floors:
            axes.axhline(float(floors[story.name]), color=color, lw=0.8, linestyle=":")
        series = [_shown(block.accounts[accounts[story.name]].health) for block in blocks]
        label = _summary(story)
        axes.step(times, series, where="post", lw=1.4, label=label, color=color, linestyle=line)
        for cause in ("forecast", "floor"):
            actions = [action for action in story.actions if action.cause == cause]
            healths = [_shown(action.health_after) for action in actions]
            _mark(axes, cause, color, [action.timestamp for action in actions], healths)
        liquidated = [one.timestamp for one in story.liquidations]
        _mark(axes, "liquidation", color, liquidated, [1.0] * len(liquidated))
    for what, marker in MARKERS.items():
        label = what if what == "liquidation" else f"action, cause: {what}"
        axes.plot([], [], marker=marker, color=INK, markersize=7, linestyle="none", label=label)
    axes.set_ylabel("health factor")
    low, high = axes.get_ylim()
    # Room for the words below the line, whatever the range above it.
    axes.set_ylim(bottom=min(low, 1 - ROOM_BELOW * (high - 1)))
    axes.annotate(
        "liquidated below 1.0; dotted: the floors",
        (0.005, 1.0),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4),
        textcoords="offset points",
        va="top",
    )
    lines, labels = axes.get_legend_handles_labels()
    columns = max(len(told), len(MARKERS))
    # A legend fills its columns first: the twins in the upper row, the markers in the lower.
    order = [i for column in range(columns) for i in range(column, len(lines), columns)]
    axes.legend(
        [lines[i] for i in order],
        [labels[i] for i in order],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        ncols=columns,
        frameon=False,
    )
    _clean(axes)


def _mark(
    axes: Axes, what: str, color: str, timestamps: Sequence[int], healths: Sequence[float]
) -> None:
    axes.plot(
        _times(timestamps),
        healths,
        marker=MARKERS[what],
        markersize=9,
        markerfacecolor=color,
        markeredgecolor="white",
        linestyle="none",
        zorder=3,
    )


def _summary(story: AccountTold) -> str:
    lost = f", lost ${story.loss_usd8 / 1e8:,.0f}" if story.liquidations else ""
    plural = "" if len(story.actions) == 1 else "s"
    acts = f", {len(story.actions)} action{plural}" if story.actions else ""
    spent = (
        f"{' for' if acts else ', spent'} {_dollars(story.cost_usd8)}" if story.cost_usd8 else ""
    )
    return story.name + lost + acts + spent


def _dollars(usd8: int) -> str:
    digits = 0 if abs(usd8) >= 1_000 * 10**8 else 2
    return f"{'−' if usd8 < 0 else ''}${abs(usd8) / 1e8:,.{digits}f}"


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#DDDDDD", lw=0.6)
    axes.margins(x=0.005)


def _shown(health: Wad | None) -> float:
    return float("nan") if health is None else health / WAD


def _times(timestamps: Iterable[int]) -> NDArray[np.datetime64]:
    return np.array(list(timestamps), dtype="datetime64[s]")
