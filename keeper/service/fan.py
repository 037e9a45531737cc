"""How low health may go, as a picture: one panel for each position, PNG or a page that holds it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from keeper.engine.ahead import QUANTILES, TIMES_S
from keeper.model.book import Floats

MOST_PANELS: Final = 12
INK: Final = "#333333"
# One hue from dark to light, which colour-blind readers and printers keep apart by lightness; the
# lines that matter carry their own words.
BANDS: Final = ("#08519C", "#3182BD", "#6BAED6", "#BDD7E7", "#E3EEF7")
ALARM: Final = "#D55E00"
TICKS: Final = {
    300: "5 min",
    900: "15 min",
    3_600: "1 h",
    14_400: "4 h",
    86_400: "24 h",
    604_800: "7 d",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One position. `lowest` as `keeper.engine.ahead.fan` gives it."""

    label: str
    health: float
    floor: float
    lowest: Floats


def draw(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Write the picture: an HTML page if the name ends in `.html`, else PNG."""
    png = _png(title, panels)
    if path.suffix == ".html":
        image = base64.b64encode(png).decode()
        path.write_text(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
            f'<img style="max-width:100%" alt="{escape(title)}" '
            f'src="data:image/png;base64,{image}"></html>\n',
            encoding="utf-8",
        )
    else:
        path.write_bytes(png)


def _png(title: str, panels: Sequence[Panel]) -> bytes:
    file = BytesIO()
    figure_of(title, panels).savefig(file, format="png")
    return file.getvalue()


def figure_of(title: str, panels: Sequence[Panel]) -> Figure:
    """The picture, not yet on paper."""
    columns = min(2, len(panels))
    rows = ceil(len(panels) / columns)
    with mpl.rc_context(
        {
            "font.size": 10,
            "axes.edgecolor": INK,
            "text.color": INK,
            "text.parse_math": False,  # a dollar sign in a label is money, not a formula
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        # A Figure of its own, not pyplot: no window system is asked for, no global state is left.
        figure = Figure(figsize=(6.5 * columns, 4.2 * rows + 0.9), dpi=120, layout="constrained")
        figure.suptitle(title, fontsize=12, fontweight="bold")
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place < len(panels):
                _panel(axes, panels[place])
            else:
                axes.set_axis_off()
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            title="how likely health is to reach the lower edge of the band until then",
            loc="outside lower center",
            ncols=len(labels),
            frameon=False,
        )
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    upper = np.full(len(TIMES_S), panel.health)
    for quantile, lower, colour in zip(QUANTILES, panel.lowest, BANDS, strict=True):
        label = f"{100 * quantile:g} %"
        axes.fill_between(TIMES_S, lower, upper, color=colour, lw=0, label=label)
        upper = lower
    lowest = float(min(panel.lowest.min(), 1.0))
    highest = max(panel.health, panel.floor)
    room = 0.06 * (highest - lowest)
    axes.set_ylim(lowest - 1.5 * room, highest + 2 * room)
    axes.axhline(1.0, color=ALARM, lw=1.6)
    axes.axhline(panel.floor, color=INK, lw=0.9, ls="--")
    _said(axes, 1.0, "liquidated", ALARM, below=True)
    _said(axes, panel.floor, f"floor {panel.floor:g}", INK, below=False)
    axes.set_xscale("log")
    axes.set_xlim(TIMES_S[0], TIMES_S[-1])
    axes.set_xticks(list(TICKS), list(TICKS.values()))
    axes.minorticks_off()
    axes.set_ylabel("health")
    axes.set_title(f"{panel.label}: health now {panel.health:.3f}", loc="left", fontsize=11)


def _said(axes: Axes, level: float, text: str, colour: str, *, below: bool) -> None:
    """Beside its line, on white, so that it can be read on any band; the floor is never below 1, so
    that the two do not meet."""
    axes.annotate(
        text,
        (0.01, level),
        xycoords=("axes fraction", "data"),
        xytext=(0, -4 if below else 4),
        va="top" if below else "bottom",
        textcoords="offset points",
        color=colour,
        fontsize=9,
        bbox={"facecolor": "white", "alpha": 0.75, "pad": 1, "lw": 0},
    )
