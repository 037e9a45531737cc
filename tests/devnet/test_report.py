"""`keeper report` after a crash on a local chain."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import RecordingProxy
from tests.devnet.keeping.ground import Ground


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Ground:
    return Ground(chain=chain, folder=tmp_path)


async def crashed(ground: Ground) -> None:
    """Protected at 1.20; then the price falls by a quarter, which 1.20 would not have survived."""
    one = ground.guard(health="1.20")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await ground.until_concluded(running)
        assert ground.health(one) > 10**18
        ground.chain.set_price("WETH", ground.price("WETH") * 3 // 4)
        await ground.pass_block(running)


async def documents(ground: Ground) -> list[dict[str, Any]]:
    return [
        json.loads((await ground.ask("explain", str(each.id), "--json")).output)["document"]
        for each in ground.decisions()
    ]


async def test_report__crash_survived__tells_costs_and_the_loss_avoided(ground: Ground) -> None:
    await crashed(ground)
    page, sheet = ground.folder / "r.html", ground.folder / "r.csv"
    done = await ground.ask("report", "--json", "--html", str(page), "--csv", str(sheet))
    assert done.exit_code == 0, done.text
    document = json.loads(done.output)
    first = document["actions"][0]
    assert (first["outcome"], first["action"], first["cause"]) == ("done", "Repay", "floor")
    (decision, *_) = ground.decisions()
    fees = sum(
        (tx.gas_used or 0) * (tx.effective_gas_price_wei or 0) for tx in decision.transactions
    )
    assert first["fees_coin"] == pytest.approx(fees / 1e18)
    (episode, *_) = document["episodes"]
    alone = episode["left_alone"]
    # 1.20 × 3/4, but for the interest.
    assert alone["lowest_health"] == pytest.approx(0.90, abs=1e-3)
    assert alone["liquidatable_at"] is not None
    # Half of the debt at a penalty of 5 %: what the pool takes of a position of health 0.95 to 1.
    explained = json.loads((await ground.ask("explain", "1", "--json")).output)
    assert episode["avoided_usd"] == explained["document"]["at_stake"]["liquidation_loss_usd"] > 0
    assert document["avoided_usd"] >= episode["avoided_usd"]
    (idle,) = document["idle_capital"]
    assert idle["mean_reserve_usd"] > 0
    assert idle["samples"] == sum(day["samples"] for day in document["days"]) > 0
    seen = [each["forecast"]["breach_probability"] for each in await documents(ground)]
    assert document["days"][0]["highest_probability"] >= max(filter(None, seen))

    (row, *_) = csv.DictReader(sheet.open())
    assert row["position"] == "main"
    assert float(row["health_before"]) == pytest.approx(1.20, abs=1e-3)
    text = page.read_text()
    assert "left alone it would have been liquidated" in text
    assert "<script" not in text
    shown = await ground.ask("report")
    assert "losses avoided" in shown.output


async def test_report__other_days__tells_of_nothing(ground: Ground) -> None:
    await crashed(ground)
    done = await ground.ask("report", "--from", "2001-01-01", "--to", "2001-12-31", "--json")
    document = json.loads(done.output)
    assert (document["actions"], document["cost_usd"], document["episodes"]) == ([], 0, [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "yesterday"), "--from: yesterday is not a day"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), "the last day is before the first"),
        (("--html", "/no such folder/r.html"), "/no such folder/r.html cannot be written"),
    ],
)
async def test_report__what_cannot_be_meant__is_refused(
    ground: Ground, options: tuple[str, ...], said: str
) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    assert (await ground.ask("run", "--once")).exit_code == 0
    done = await ground.ask("report", *options)
    assert done.exit_code == 78
    assert said in done.text


async def test_report__nothing_recorded__says_so(ground: Ground) -> None:
    ground.guard()
    ground.config(ground.chain.rpc_url, None)
    done = await ground.ask("report")
    assert (done.exit_code, "Nothing recorded yet" in done.output) == (0, True)
