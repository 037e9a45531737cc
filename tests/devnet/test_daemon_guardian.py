"""What the daemon does through a guardian, with a key that owns nothing but gas."""

import json

from keeper.devnet.chain import VARIABLE_RATE
from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.views import Repaid, Supplied
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


async def test_daemon__mandate_that_only_pays__acts_and_asks_no_pool_for_quotes(
    ground: Ground,
) -> None:
    """No collateral may be sold and no pool used, while a quoter is known and every source allowed."""
    one = ward(ground, wallet={"USDC": 5_000}, collaterals=(), pools=())
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.until_concluded(running)
        assert running.all("pass.broken") == []
        assert proxy.recording.reads_per_block() <= 2
    (event,) = ground.events(one)
    assert isinstance(event, Repaid)
    assert target_of(one) <= ground.health(one) <= target_of(one) * 1001 // 1000
    assert ground.flaws() == []


async def test_daemon__reserve_for_most__is_used_first_and_the_pool_does_the_rest(
    ground: Ground,
) -> None:
    # 10 WETH at 2,281.37 dollars count 18,821; at health 1.2 that is 15,684 of debt, of which 2,240
    # lead to 1.4; 1,700 leave it at 1.346, and a fall of 10 % brings that to 1.211, below the floor.
    one = ward(ground, wallet={"USDC": 1_700})
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        await ground.pass_block(running)
        assert running.all("plan.concluded", succeeded=True)
        ground.chain.set_price("WETH", ground.price("WETH") * 9 // 10)
        await running.said("transaction.sent", purpose="Deleverage")
        await ground.until_concluded(running)
    first, second = ground.events(one)
    assert isinstance(first, Repaid)
    assert first.amount_raw == 1_700 * 10**6
    assert isinstance(second, Repaid)
    assert ground.health(one) >= target_of(one)
    assert ground.flaws() == []


async def test_daemon__market_without_free_collateral__pays_from_the_wallet_in_the_same_block(
    ground: Ground,
) -> None:
    """Somebody has borrowed all the ether there is, so that none can be withdrawn: the unwind that
    comes first would revert at every size, and the wallet that comes after it is used."""
    one = ward(ground, wallet={"USDC": 5_000}, further={"sources": '["pool", "wallet"]'})
    chain, aave = ground.chain, ground.chain.contracts.aave.pool
    borrower, weth = chain.account("borrower").address, chain.contracts.tokens["WETH"]
    chain.open_position(borrower, collateral={"WBTC": 10**5 * 10**8}, debt={"WETH": 10**18})
    a_token = chain.read(aave, "getReserveData", weth.address)[8]
    left = chain.read(weth, "balanceOf", a_token)
    chain.transact(borrower, aave, "borrow", weth.address, left, VARIABLE_RATE, 0, borrower)
    ground.first_block = ground.block() + 1
    async with (
        RecordingProxy(chain.rpc_url, chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        passed = await running.said("plan.passed_over")
        await running.said("transaction.sent", purpose="Repay")
        for _ in range(3):
            await ground.pass_block(running)
        assert running.all("plan.concluded", succeeded=True)
        assert proxy.recording.reads_per_block() <= 2
    assert "Deleverage would revert" in passed["refused"]
    (event,) = ground.events(one)
    assert isinstance(event, Repaid)
    # All that is left to lend being lent, interest takes a little at once.
    assert ground.health(one) > target_of(one) * 999 // 1000
    assert ground.flaws() == []


async def test_daemon__reserve_of_another_account__pays_with_its_consent(ground: Ground) -> None:
    treasury = ground.chain.account("treasury")
    one = ward(ground, reserve=treasury, wallet={"USDC": 5_000, "WETH": 5})
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent")
        await ground.until_concluded(running)
    (event,) = ground.events(one)
    assert isinstance(event, Repaid | Supplied)
    (decision,) = ground.decisions()
    document = json.loads((await ground.ask("explain", str(decision.id), "--json")).output)
    assert document["document"]["options"][0]["source"] == "vault"
    assert ground.health(one) >= target_of(one)
    assert ground.flaws() == []


async def test_daemon__vault_that_cannot_save_both__pays_first_where_a_dollar_spares_the_most(
    ground: Ground,
) -> None:
    # Of 18,821 dollars that count, health 1.22 leaves a debt of 15,427, of which 1,983 lead to 1.4,
    # and 1.06 one of 17,756, of which 4,312 do. The vault's 4,500 are worth most to the second.
    vault, only = ground.chain.account("treasury"), {"sources": '["vault"]'}
    far, near = (
        ward(ground, label=label, health=health, reserve=vault, wallet={"USDC": usd}, further=only)
        for label, health, usd in (("far", "1.22", 4_500), ("near", "1.06", 0))
    )
    usdc = ground.chain.contracts.tokens["USDC"]
    for one in (far, near):
        ground.chain.transact(vault.address, usdc, "approve", one.guardian.address, 10**12)
    ground.first_block = ground.block() + 1
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Repay")
        for _ in range(3):
            await ground.pass_block(running)
    (saved,) = ground.events(near)
    assert isinstance(saved, Repaid)
    assert ground.health(near) >= target_of(near)
    # The other is left with the rest, 188 dollars, where all it needs would have left 2,517 to the
    # first: not enough.
    left = 4_500 * 10**6 - saved.amount_raw
    assert sum(each.amount_raw for each in ground.events(far) if isinstance(each, Repaid)) <= left
    assert ground.health(far) < target_of(far)
    (first,) = [decision for decision in ground.decisions() if decision.label == "near"]
    told = json.loads((await ground.ask("explain", str(first.id), "--json")).output)["document"]
    # The configuration names the other first.
    assert told["reserve"]["order"] == ["near", "far"]
    assert ground.flaws() == []


async def test_daemon__pool_first_in_the_owners_order__leaves_the_reserve_alone(
    ground: Ground,
) -> None:
    one = ward(ground, wallet={"USDC": 5_000}, further={"sources": '["pool", "wallet"]'})
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Deleverage")
        await ground.until_concluded(running)
    usdc = ground.chain.contracts.tokens["USDC"]
    assert ground.chain.read(usdc, "balanceOf", one.account.address) == 5_000 * 10**6


async def test_daemon__frozen_before_it_acts__refuses_with_the_fix_and_asks_no_simulation(
    ground: Ground,
) -> None:
    one = ward(ground)
    provider = ground.chain.contracts.aave.pool_addresses_provider.address
    ground.chain.transact(one.account.address, one.guardian, "freeze", provider)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        refused = await running.said("plan.refused")
        assert "only its owner can unfreeze it" in refused["reason"]
        await ground.pass_block(running)
        assert proxy.recording.reads_per_block() == 1
        ground.chain.transact(one.account.address, one.guardian, "unfreeze", provider)
        await running.said("transaction.sent", purpose="Deleverage")


async def test_daemon__reserve_below_the_mandates_least__is_refused_without_a_simulation(
    ground: Ground,
) -> None:
    ward(
        ground,
        wallet={"USDC": 60},
        min_action=100 * 10**8,
        further={"sources": '["wallet"]'},
    )
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        refused = await running.said("plan.refused")
        assert "the mandate refuses less than 100.00" in refused["reason"]
        await ground.pass_block(running)
        assert proxy.recording.reads_per_block() == 1


async def test_daemon__dry_run_without_a_key__tells_what_the_guardian_would_do(
    ground: Ground,
) -> None:
    ward(ground)
    ground.environ = {}
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--once") as running,
    ):
        assert await running.ended() == 0
    (decision,) = ground.decisions()
    assert decision.kind == "Deleverage"
    assert decision.outcome == "dry run"


async def test_daemon__guarded_position_falls__asks_the_node_at_most_twice_before_the_broadcast(
    ground: Ground,
) -> None:
    one = ward(ground, health="1.30")
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("pass.done")
        while not proxy.recording.heads:
            await ground.pass_block(running)
        await ground.pass_block(running)
        # Positions, mandates and depths.
        assert proxy.recording.reads_per_block() == 1
        ground.chain.set_price("WETH", 2_150_00000000)
        await running.said("transaction.sent", purpose="Deleverage")
        assert proxy.recording.reads_per_block() == 2
        await ground.until_concluded(running)
    assert ground.health(one) >= target_of(one)
    assert ground.flaws() == []


async def test_daemon__no_quoter_on_an_unknown_chain__says_what_to_write(ground: Ground) -> None:
    ward(ground)
    del ground.settings["quoter"]
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        refused = await running.said("plan.refused")
    assert "write [chain] quoter" in refused["reason"]
