"""`keeper check`: what is well, what is not, and what mends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from keeper.chain.kill_file import Order, order
from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import RecordingProxy
from tests.devnet.keeping.gates import Outage, WithoutMethod
from tests.devnet.keeping.ground import Ground
from tests.devnet.keeping.ward import ward

Lines = dict[str, dict[str, Any]]


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Ground:
    ground = Ground(chain=chain, folder=tmp_path)
    ground.service["min_gas_balance"] = 1
    return ground


async def checked(ground: Ground, *, well: bool) -> Lines:
    """By topic, what the command says as JSON; with 0 if all is well, else with 1."""
    done = await ground.ask("check", "--json")
    assert done.exit_code == (0 if well else 1), done.text + done.output
    document = json.loads(done.output)
    assert document["healthy"] is well
    return {line["topic"]: line for line in document["lines"]}


def verdict(lines: Lines, topic: str) -> tuple[str, str]:
    return lines[topic]["verdict"], lines[topic]["what"]


async def test_check__all_is_well__every_line_says_so(ground: Ground) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    lines = await checked(ground, well=True)
    assert {topic for topic, line in lines.items() if line["verdict"] != "ok"} == {
        "endpoints",
        "notifier",
        "service",
    }
    assert lines["position main"]["what"] == "health 1.500, floor 1.250"
    assert "USD holds the floor until" in lines["reserve main"]["what"]
    assert all(line["fix"] for line in lines.values() if line["verdict"] != "ok")
    # It only looked.
    assert [path.name for path in ground.folder.iterdir()] == ["keeper.toml"]


async def test_check__for_people__is_told_in_lines_with_their_fixes(ground: Ground) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    done = await ground.ask("check")
    assert done.exit_code == 0
    assert "warn  notifier" in done.output
    assert "→ set KEEPER_WEBHOOK_URL" in done.output
    assert "3 to look at, 0 to put right" in done.output


async def test_check__no_gas_money__fails_with_how_much_is_missing(ground: Ground) -> None:
    one = ground.guard(health="1.50")
    ground.chain.rpc.call("anvil_setBalance", one.account.address, hex(10**17))
    ground.config(ground.chain.rpc_url, None)
    line = (await checked(ground, well=False))["gas money"]
    assert line["verdict"] == "fail"
    assert line["fix"] == f"send 0.9000 or more to {one.account.address}"


async def test_check__below_the_floor_and_nothing_to_pay_with__warns(ground: Ground) -> None:
    ground.guard(health="1.10", wallet={})
    ground.config(ground.chain.rpc_url, None)
    lines = await checked(ground, well=True)
    assert verdict(lines, "position main") == ("warn", "health 1.100, floor 1.250")
    assert lines["reserve main"]["verdict"] == "warn"
    assert "the reserve of 0 USD" in lines["reserve main"]["what"]


async def test_check__endpoint_down__is_told_and_the_machine_is_looked_at(ground: Ground) -> None:
    ground.guard()
    order(ground.folder / "keeper.kill", Order.PAUSE)
    ground.journal.write_text("this is no database, whatever it may be called")
    async with RecordingProxy(
        ground.chain.rpc_url, ground.chain.ws_url, Outage(down=True)
    ) as proxy:
        ground.config(proxy.http_url, None)
        lines = await checked(ground, well=False)
    assert lines["endpoint"]["verdict"] == "fail"
    assert verdict(lines, "kill file")[0] == "warn"
    assert lines["kill file"]["fix"] == "keeper resume"
    assert lines["database"]["verdict"] == "fail"
    assert "positions" not in lines


async def test_check__key_of_another_account__fails(ground: Ground) -> None:
    ground.guard(health="1.50")
    other = ground.chain.account("other")
    ground.environ["KEEPER_SIGNERS__MAIN__PRIVATE_KEY"] = other.private_key
    ground.config(ground.chain.rpc_url, None)
    line = (await checked(ground, well=False))["key main"]
    assert line["verdict"] == "fail"
    assert f"belongs to {other.address}" in line["what"]


async def test_check__no_key__is_enough_for_a_dry_run(ground: Ground) -> None:
    ground.guard(health="1.50")
    ground.environ.clear()
    ground.config(ground.chain.rpc_url, None)
    line = (await checked(ground, well=True))["key main"]
    assert line["verdict"] == "warn"
    assert "(a dry run needs no key)" in line["what"]


async def test_check__real_chain__warns_of_what_live_will_refuse(ground: Ground) -> None:
    ground.guard(health="1.50")
    gate = WithoutMethod("anvil_nodeInfo")
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        ground.config(proxy.http_url, None)
        lines = await checked(ground, well=False)
    assert lines["chain"]["verdict"] == "warn"
    assert "chain 31337 is not local" in lines["chain"]["what"]
    # The local chain lives in another year than this machine.
    assert lines["clock"]["verdict"] == "fail"


async def test_check__guardian__tells_what_its_mandate_allows_and_that_it_is_frozen(
    ground: Ground,
) -> None:
    one = ward(ground, health="1.50")
    ground.config(ground.chain.rpc_url, None)
    lines = await checked(ground, well=True)
    assert lines["mandate main"]["verdict"] == "ok"
    assert lines["mandate main"]["what"].startswith("it allows ")
    market = ground.chain.contracts.aave.pool_addresses_provider.address
    ground.chain.transact(one.account.address, one.guardian, "freeze", market)
    line = (await checked(ground, well=False))["mandate main"]
    assert line["what"].startswith("the mandate is frozen")
