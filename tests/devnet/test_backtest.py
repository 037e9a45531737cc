"""`keeper backtest --address` on a chain of real contracts."""

import json
from pathlib import Path

import numpy as np

from keeper.model.units import WAD
from tests.devnet.keeping.ground import Ground

FIRST = 1_640_995_200  # 2022-01-01


def write_prices(folder: Path) -> None:
    """Forty days of hours at about 2,000 dollars, and one fall by a half."""
    close = 2_000.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0.0, 0.002, 960)))
    close[700:] *= 0.5
    rows = (f"{FIRST + n * 3_600},{p},{p},{p},{p}\n" for n, p in enumerate(close.tolist()))
    folder.mkdir()
    text = "timestamp,open,high,low,close\n" + "".join(rows)
    (folder / "ETHUSDT-1h-2022.csv").write_text(text)


async def test_backtest__address_of_the_chain__is_replayed_with_its_own_health_and_terms(
    ground: Ground, tmp_path: Path
) -> None:
    one = ground.guard("main", health="1.20")
    ground.guard("alice", health="0")
    ground.config(ground.chain.rpc_url, None)
    write_prices(tmp_path / "data")
    dump = tmp_path / "dump.csv"
    asked = await ground.ask(
        "backtest", "--prices", str(tmp_path / "data"), "--address", one.account.address,
        "--policy", "nothing,fixed_guard_1.25_1.40", "--dump", str(dump), "--json",
    )  # fmt: skip
    assert await asked.ended() == 0, asked.log()
    nothing = json.loads(asked.output)["rows"][0]
    # Thirty days fit ten times into forty days of prices, the first of which ends the first hour.
    assert nothing["group"] == "pooled"
    assert nothing["episodes"] == 10
    assert nothing["liquidated_share"] > 0.9
    started = dump.read_text().splitlines()[1].split(",")
    assert started[2:4] == ["ETH/USD", "start"]
    assert abs(float(started[-3]) - ground.health(one) / WAD) < 1e-6


async def test_backtest__address_that_owes_nothing__is_refused(
    ground: Ground, tmp_path: Path
) -> None:
    one = ground.guard("main", health="0")
    ground.config(ground.chain.rpc_url, None)
    write_prices(tmp_path / "data")
    for address, said in ((one.account.address, "owes nothing in"), ("0x12", "0x12 is no address")):
        asked = await ground.ask(
            "backtest", "--prices", str(tmp_path / "data"), "--address", address
        )
        assert await asked.ended() == 78, asked.log()
        assert said in asked.log()
        assert asked.output == ""
