"""The demo's picture is written, and shows the twins, actions and liquidations it is given."""

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from keeper.devnet.picture import draw
from keeper.devnet.story import AccountTold, ActionTold, LiquidationTold
from keeper.devnet.views import AccountView, BlockView
from keeper.model.units import WAD, Address, Wad

WETH = Address("0x" + "11" * 20)
ACCOUNTS = {
    name: Address(f"0x{i:040x}") for i, name in enumerate(("unprotected", "fixed", "forecast"), 1)
}


def block(number: int) -> BlockView:
    health = Wad((150 - number) * WAD // 100)
    view = AccountView(
        collateral_usd8=1, debt_usd8=1, liquidation_threshold_bps=8000, health=health
    )
    return BlockView(
        number=number,
        timestamp=1_583_971_200 + 300 * number,
        gas_price_wei=10**9,
        market_price=194.0 - number,
        prices_usd8={WETH: (194 - number) * 10**8},
        accounts=dict.fromkeys(ACCOUNTS.values(), view),
        events=(),
        sales=(),
        fees=(),
    )


def told(name: str) -> AccountTold:
    action = ActionTold(
        transaction="0x1",
        kind="Repay",
        cause="forecast",
        block=30,
        timestamp=1_583_980_200,
        latency_blocks=1,
        health_before=Wad(12 * WAD // 10),
        health_after=None,
        amount_usd8=10**10,
        swap_usd8=0,
        cost_usd8=10**8,
    )
    liquidation = LiquidationTold(block=40, timestamp=1_583_983_200, loss_usd8=10**10)
    return AccountTold(
        name=name,
        actions=(action,) if name == "forecast" else (),
        liquidations=(liquidation,) if name == "unprotected" else (),
        cost_usd8=10**8,
        min_health=Wad(WAD),
        debt_start_usd8=1,
        debt_end_usd8=1,
    )


def test_draw__three_twins__writes_a_png_wide_enough_for_a_page(tmp_path: Path) -> None:
    path = tmp_path / "demo.png"
    draw(
        path, "A title", [block(i) for i in range(60)], WETH, ACCOUNTS, [told(n) for n in ACCOUNTS],
        {"fixed": Fraction("1.05"), "forecast": Fraction("1.15")},
    )  # fmt: skip
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width >= 1200
    assert height >= 700


def test_draw__perps__shows_their_floors_and_what_everything_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    save = Figure.savefig

    def kept(figure: Figure, path: Path, format: str) -> None:  # noqa: A002 - its name
        figures.append(figure)
        save(figure, path, format=format)

    monkeypatch.setattr(Figure, "savefig", kept)
    cents = 10**6
    stories = [
        told("unprotected"),
        replace(told("unprotected"), name="fixed", cost_usd8=67_112 * cents),
        replace(told("forecast"), cost_usd8=-3_260_400 * cents),
    ]
    floors = {"fixed": Fraction("1.30"), "forecast": Fraction(3)}
    draw(tmp_path / "p.png", "A title", [block(0), block(1)], WETH, ACCOUNTS, stories, floors)
    below = figures[0].axes[1]
    dotted = [line for line in below.get_lines() if line.get_linestyle() == ":"]
    assert [np.asarray(line.get_ydata())[0] for line in dotted] == [1.3, 3.0]
    legend = below.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert "fixed, lost $100, spent $671.12" in labels
    assert "forecast, 1 action for −$32,604" in labels
    # The words below the line of liquidation stay clear of it and inside.
    (words,) = below.texts
    box = words.get_window_extent()
    assert box.y1 < below.transData.transform((0, 1.0))[1]
    assert box.y0 > below.get_window_extent().y0
