"""What the daemon does through a guardian, with a key that owns nothing but gas."""

import json

from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.views import Repaid
from tests.devnet.keeping.ground import Ground, target_of
from tests.devnet.keeping.ward import belongings, ward

NOTHING = (0, 0)


async def test_daemon__guardian_and_no_reserve__unwinds_to_the_target_as_predicted(
    ground: Ground,
) -> None:
    one = ward(ground)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Deleverage")
        await ground.until_concluded(running)
        assert proxy.recording.reads_per_block() <= 2
    (event,) = ground.events(one)
    assert isinstance(event, Repaid)
    assert target_of(one) <= ground.health(one) <= target_of(one) * 1001 // 1000
    assert set(belongings(ground, one).values()) == {NOTHING}
    (decision,) = ground.decisions()
    assert decision.as_predicted
    assert [tx.purpose for tx in decision.transactions] == ["Deleverage"]
    document = json.loads((await ground.ask("explain", str(decision.id), "--json")).output)
    (chosen,) = (o for o in document["document"]["options"] if o["verdict"] == "chosen")
    assert chosen["source"] == "pool"
    assert chosen["costs"]["gas_usd"] > 0
    assert chosen["costs"]["swap_fee_usd"] > 0
    assert ground.flaws() == []
