"""`keeper forecast` on a chain of real contracts."""

import json
from pathlib import Path

import pytest

from keeper.model.units import WAD
from tests.devnet.keeping.ground import Ground


async def test_forecast__positions_of_the_chain__are_told_as_the_daemon_sees_them(
    ground: Ground, tmp_path: Path
) -> None:
    one = ground.guard("main", health="1.20")
    ground.guard("alice", health="0")
    ground.config(ground.chain.rpc_url, None)
    asked = await ground.ask("forecast", "--json", "--picture", str(tmp_path / "fan.png"))
    assert await asked.ended() == 0, asked.log()
    told = json.loads(asked.output)
    assert told["block"] == ground.block()
    main, free = told["positions"]
    assert main["health"] == pytest.approx(ground.health(one) / WAD)
    assert [chance["horizon_s"] for chance in main["horizons"]] == [
        *(300, 900, 3_600, 14_400, 86_400, 604_800)
    ]
    ether, dollars = main["assets"]
    assert ether["price"] == pytest.approx(ground.price("WETH") / 1e8)
    assert ether["liquidation_price"] == pytest.approx(ether["price"] / main["health"], rel=1e-3)
    assert (ether["sensitivity"], dollars["sensitivity"]) == pytest.approx((1.0, -1.0))
    assert main["forecast_from"] == "table ETH/USD"
    assert free["health"] is None
    assert f"{tmp_path / 'fan.png'} is written" in asked.log()
    assert (tmp_path / "fan.png").read_bytes().startswith(b"\x89PNG")
    assert not ground.journal.exists()

    await ground.ask("run", "--once")
    (seen,) = [
        view
        for view in json.loads((await ground.ask("status", "--json")).output)["positions"]
        if view["label"] == "main"
    ]
    (same,) = (
        chance
        for chance in main["horizons"]
        if chance["horizon_s"] == one.policy.get("horizon_s", 86_400)
    )
    assert seen["breach_probability"] == pytest.approx(same["breach_probability"], rel=1e-3)
    in_words = await ground.ask("forecast", "--position", "main")
    assert "distance in σ" in in_words.output
    assert "alice" not in in_words.output
    ground.environ["COLUMNS"] = "60"
    narrow = (await ground.ask("forecast", "--position", "main")).output
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= 60
    for said in ("7 d", "health per +1 %", "-1.00 %", f"{ether['liquidation_price']:,.6g}"):
        assert said in narrow


async def test_forecast__what_cannot_be__is_told_with_its_exit_code(
    ground: Ground, tmp_path: Path
) -> None:
    ground.guard("main", health="0")
    ground.config(ground.chain.rpc_url, None)
    for code, said, arguments in (
        (78, "no position is called nobody", ["--position", "nobody"]),
        (78, "ends in neither .png nor .html", ["--picture", str(tmp_path / "fan.svg")]),
        (78, "cannot be written", ["--picture", str(tmp_path / "none" / "fan.png")]),
        (78, "there is nothing to draw", ["--picture", str(tmp_path / "fan.png")]),
    ):
        asked = await ground.ask("forecast", *arguments)
        assert await asked.ended() == code, asked.log()
        assert said in asked.log()
        assert asked.output == ""
    assert not (tmp_path / "fan.png").exists()
    ground.config("http://127.0.0.1:9", None)
    asked = await ground.ask("forecast")
    assert await asked.ended() == 75, asked.log()
