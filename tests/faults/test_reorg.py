"""A reorg that takes an action back after it was settled."""

from keeper.devnet.proxy import Gate, RecordingProxy
from keeper.devnet.views import Repaid
from tests.devnet.keeping.ground import Ground, target_of


async def test_reorg__takes_back_a_settled_action__the_same_bytes_are_mined_again(
    ground: Ground,
) -> None:
    one = ground.guard()
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, Gate()) as proxy,
        ground.keeper(proxy, "--live") as keeper,
    ):
        await ground.until_concluded(keeper)
        (first,) = ground.events(one)

        # The block of the action and all after it are replaced by as many empty ones.
        mined = ground.transactions(one)
        depth = ground.block() - min(int(tx["blockNumber"], 16) for tx in mined) + 1
        ground.chain.rpc.call("anvil_reorg", depth, [])
        assert ground.events(one) == []
        await ground.until_concluded(keeper)

        (again,) = ground.events(one)
    assert isinstance(again, Repaid)
    assert again.transaction == first.transaction
    assert ground.health(one) >= target_of(one) * 999 // 1000
    assert ground.open() == [], keeper.log()
    assert ground.flaws() == [], keeper.log()
