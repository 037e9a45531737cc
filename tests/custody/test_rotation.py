"""`keeper key rotate`: what is in flight is waited for, the mandate is moved, the old key is at an end."""

import json
from pathlib import Path

from eth_account import Account

from keeper.devnet.proxy import RecordingProxy
from keeper.devnet.rpc import RpcError
from keeper.mandate.charter import MANDATE
from keeper.mandate.guardian import REPAY
from keeper.watching import guardian_code
from tests.devnet.keeping.ground import Ground, target_of
from tests.devnet.keeping.process import Keeper, keeper
from tests.devnet.keeping.ward import Ward, ward


def prepared(ground: Ground, one: Ward, *, rich: bool = True) -> str:
    """The owner's key and a new one in the configuration, beside the running keeper's environment;
    the new key's address."""
    ground.sections.append("[signers.owner]")
    if rich:
        bot = ground.chain.account("new bot")
        address, key = bot.address, bot.private_key
    else:
        poor = Account.create("poor")
        address, key = poor.address, poor.key.hex()
    ground.environ = {
        "KEEPER_SIGNERS__MAIN__PRIVATE_KEY": key,
        "KEEPER_SIGNERS__OWNER__PRIVATE_KEY": one.account.private_key,
    }
    return str(address)


def keeper_of(ground: Ground, one: Ward) -> str:
    """Whom the mandate names."""
    market = ground.chain.contracts.aave.pool_addresses_provider.address
    call = MANDATE(one.guardian.address, market)
    data = {"to": call.target, "data": "0x" + call.data.hex()}
    output = str(ground.chain.rpc.call("eth_call", data, "latest"))
    return "0x" + output[2:][24:64]


def refused_to(ground: Ground, one: Ward, key: str) -> str:
    """What the guardian says to a repayment by this key; empty where it is no matter of the key."""
    market = ground.chain.contracts.aave.pool_addresses_provider.address
    usdc = ground.chain.contracts.tokens["USDC"].address
    data = "0x" + REPAY.encode(market, 1, usdc, 10**6).hex()
    call = {"from": key, "to": one.guardian.address, "data": data}
    try:
        ground.chain.rpc.call("eth_call", call, "latest")
    except RpcError as error:
        for selector, named in guardian_code().errors.items():
            if selector.hex() in str(error):
                return named.name
        return str(error)
    return ""


async def rotated(ground: Ground, *options: str) -> Keeper:
    """The command to its end, on a chain that mines what comes."""
    ground.chain.rpc.call("evm_setAutomine", True)
    try:
        return await ground.ask("key", "rotate", *options)
    finally:
        ground.chain.rpc.call("evm_setAutomine", False)


async def test_rotate__keeper_at_work__drains_moves_and_revokes_and_the_new_key_goes_on(
    ground: Ground,
) -> None:
    one = ward(ground)
    old = one.keeper.address
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Deleverage")
        new = prepared(ground, one)
        config = ground.config(proxy.http_url, proxy.ws_url)
        async with keeper(
            "key", "rotate", "--yes", config=config, environ=ground.environ
        ) as moving:
            # It waits for the unwind that is in flight, and the mandate is still the old key's.
            await running.said("keeper.ordered", order="pause")
            assert keeper_of(ground, one) == old.lower()
            assert moving.alive
            ground.chain.rpc.call("evm_setAutomine", True)
            ground.chain.mine()
            assert await moving.ended() == 0
        ground.chain.rpc.call("evm_setAutomine", False)
        assert "drained: nothing of the old key is in flight" in moving.output
        assert f"revoked: {old} may do nothing any more" in moving.output
        assert len(ground.events(one)) == 1
        assert await running.stop() == 0
    assert keeper_of(ground, one) == new.lower()
    assert refused_to(ground, one, old) == "NotKeeper"
    assert refused_to(ground, one, new) != "NotKeeper"

    # The next one takes the new key, and acts once it may.
    assert (await ground.ask("resume")).exit_code == 0
    ground.chain.set_price("WETH", ground.price("WETH") * 85 // 100)
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Deleverage")
        await ground.until_concluded(running)
    assert ground.health(one) >= target_of(one)
    for line in (running.text, moving.output, moving.text):
        assert one.account.private_key.removeprefix("0x") not in line


async def test_rotate__nothing_in_flight__the_second_time_there_is_nothing_to_do(
    ground: Ground,
) -> None:
    one = ward(ground, health="1.50")
    new = prepared(ground, one)
    ground.config(ground.chain.rpc_url, None)
    moved = await rotated(ground, "--yes")
    assert moved.exit_code == 0, moved.log(moved.output)
    assert keeper_of(ground, one) == new.lower()
    assert (ground.folder / "keeper.kill").exists()
    again = await rotated(ground, "--yes")
    assert again.exit_code == 0
    assert "every mandate names the key of its position's signer already" in again.output


async def test_rotate__what_is_in_flight_is_never_mined__moves_nothing_and_lets_the_keeper_go_on(
    ground: Ground,
) -> None:
    one = ward(ground)
    old = one.keeper.address
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        await running.said("transaction.sent", purpose="Deleverage")
        prepared(ground, one)
        ground.config(proxy.http_url, proxy.ws_url)
        given_up = await ground.ask("key", "rotate", "--yes", "--wait", "1")
        assert given_up.exit_code == 75
        assert "still in flight after 1 s: Deleverage with nonce 0" in given_up.text
        assert not (ground.folder / "keeper.kill").exists()
        await ground.until_concluded(running)
    assert keeper_of(ground, one) == old.lower()


async def test_rotate__safe__gets_a_batch_and_the_old_key_goes_on_until_it_is_signed(
    ground: Ground, tmp_path: Path
) -> None:
    one = ward(ground, health="1.50")
    new = prepared(ground, one)
    ground.config(ground.chain.rpc_url, None)
    batch = tmp_path / "batch.json"
    written = await rotated(ground, "--safe-batch", str(batch))
    assert written.exit_code == 0, written.log(written.output)
    assert "The old key goes on until the batch is executed" in written.output
    assert not (ground.folder / "keeper.kill").exists()
    assert keeper_of(ground, one) == one.keeper.address.lower()
    (call,) = json.loads(batch.read_text())["transactions"]
    assert call["to"] == one.guardian.address
    # As the Safe's owners would have it executed.
    ground.chain.rpc.call("anvil_impersonateAccount", one.account.address)
    sent = {"from": one.account.address, "to": call["to"], "data": call["data"]}
    ground.chain.rpc.call("eth_sendTransaction", sent)
    ground.chain.mine()
    assert keeper_of(ground, one) == new.lower()
    assert "already" in (await rotated(ground)).output


async def test_rotate__nobody_agrees__sends_nothing_and_pauses_nothing(ground: Ground) -> None:
    one = ward(ground, health="1.50")
    prepared(ground, one)
    ground.config(ground.chain.rpc_url, None)
    asked = await rotated(ground)
    assert asked.exit_code == 1
    assert not (ground.folder / "keeper.kill").exists()
    assert keeper_of(ground, one) == one.keeper.address.lower()


async def test_rotate__new_key_without_gas_money__is_refused_before_anything(
    ground: Ground,
) -> None:
    one = ward(ground, health="1.50")
    prepared(ground, one, rich=False)
    ground.config(ground.chain.rpc_url, None)
    refused = await rotated(ground, "--yes")
    assert refused.exit_code == 78
    assert "positions[0].signer: the new key 0x" in refused.text
    assert "send it some" in refused.text
    assert not (ground.folder / "keeper.kill").exists()


async def test_rotate__position_without_a_guardian__cannot_have_another_key(
    ground: Ground,
) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    refused = await rotated(ground, "--yes")
    assert refused.exit_code == 78
    assert '"main" has no guardian' in refused.text
