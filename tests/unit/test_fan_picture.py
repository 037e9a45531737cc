"""The fan chart is written as it is asked for, with every label on the canvas and clear of others."""

from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from keeper.engine.ahead import QUANTILES, TIMES_S
from keeper.service.fan import Panel, draw, figure_of


def panel(label: str, health: float, floor: float) -> Panel:
    spread = 0.02 * np.sqrt(TIMES_S / TIMES_S[-1])
    depth = np.arange(1, len(QUANTILES) + 1)[:, None]
    return Panel(
        label=label,
        health=health,
        floor=floor,
        lowest=health * np.exp(-depth * spread * 3),
    )


@pytest.mark.parametrize(
    "panels",
    [
        [panel("alone", 1.3, 1.15)],
        [
            panel("near", 1.05, 1.02),
            panel("far", 3.0, 1.15),
            panel("$ and _ in its name", 1.2, 1.1),
        ],
    ],
)
def test_figure_of__any_positions__labels_are_on_the_canvas_and_do_not_overlap(
    panels: list[Panel],
) -> None:
    figure = figure_of("How low health may go", panels)
    figure.savefig(BytesIO(), format="png")  # lays it out
    whole = figure.bbox
    for axes in figure.axes:
        texts = [*axes.texts, axes.title, axes._left_title, axes.yaxis.label]  # type: ignore[attr-defined]  # a title on the left has no public getter
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        for one, other in combinations(boxes, 2):
            assert not one.overlaps(other)
        for box in boxes:
            assert whole.containsx(box.x0)
            assert whole.containsy(box.y0)
            assert whole.containsx(box.x1)
            assert whole.containsy(box.y1)


def test_draw__png_or_page__is_what_the_name_says(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "title", [panel("one", 1.3, 1.15)])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    draw(tmp_path / "a.html", "a < b", [panel("one", 1.3, 1.15)])
    page = (tmp_path / "a.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<title>a &lt; b</title>" in page
    assert "data:image/png;base64," in page
