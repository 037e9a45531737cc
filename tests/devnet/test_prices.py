"""`keeper prices fetch` on a chain of real contracts."""

import json
from typing import Any

from keeper.storage.price_store import PriceStore
from tests.devnet.keeping.ground import Ground


async def told(ground: Ground, *arguments: str) -> Any:
    asked = await ground.ask("prices", *arguments, "--json")
    assert await asked.ended() == 0, asked.log()
    return json.loads(asked.output)


async def test_fetch__configured_market__every_round_of_its_feeds_is_kept_once(
    ground: Ground,
) -> None:
    ground.guard("main")
    ground.config(ground.chain.rpc_url, None)
    assert sum((await told(ground, "fetch"))["added"].values()) > 0
    assert not any((await told(ground, "fetch"))["added"].values())
    shown = {one["pair"]: one for one in (await told(ground, "show"))["prices"]}
    ether = ground.chain.contracts.feeds["WETH"]
    assert shown["ETH/USD"]["feed"] == ether.address
    newest = ground.chain.read(ether, "latestRoundData")
    assert shown["ETH/USD"]["rows"] == newest[0] % 2**64
    assert shown["ETH/USD"]["last"] == newest[3]
    store = PriceStore.to_read(ground.journal)
    try:
        closes = {one.source.pair: one.candles().close for one in store.held()}
    finally:
        store.close()
    assert closes["ETH/USD"][-1] == ground.price("WETH") / 1e8


async def test_fetch__endpoint_that_is_down__is_temporary_and_keeps_nothing(
    ground: Ground,
) -> None:
    ground.guard("main")
    ground.config("http://127.0.0.1:9", None)
    asked = await ground.ask("prices", "fetch")
    assert await asked.ended() == 75, asked.log()
    assert "Traceback" not in asked.log()
