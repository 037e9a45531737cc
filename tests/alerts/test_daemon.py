"""The daemon's alerts as its owner hears them: in time, exact, acknowledged, and in nobody's way."""

import json
from collections.abc import AsyncIterator

import pytest

from keeper.devnet.proxy import RecordingProxy
from tests.alerts.receivers import TOKEN, Receiver, receiver
from tests.devnet.keeping.ground import Ground, target_of


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def test_run__notifiers_hang__protection_does_not_wait_for_them(
    ground: Ground, hook: Receiver
) -> None:
    one = ground.guard(wallet={"USDC": 1})
    ground.guard("other")
    hook.hanging = True
    ground.environ |= {
        "KEEPER_CHANNELS__PHONE__APPRISE_URL": f"json://{hook.url}",
        "KEEPER_WEBHOOK_URL": f"http://{hook.url}",
        "KEEPER_DEADMAN_URL": f"http://{hook.url}",
    }
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        # One hangs in each of the three: the margin call of `main`, and the dead-man's switch.
        await hook.came(3)
        await ground.until_concluded(running)
        assert await running.stop() == 0
    other = ground.guarded[1]
    assert ground.health(other) >= target_of(other)
    assert ground.events(one) == []  # it had one dollar


async def test_run__reserve_is_empty__calls_for_what_suffices_until_it_is_acknowledged(
    ground: Ground, hook: Receiver
) -> None:
    one = ground.guard(wallet={})
    ground.sections.append('[alerts]\nescalate_every = "1s"')
    ground.environ["KEEPER_CHANNELS__PHONE__APPRISE_URL"] = f"json://{hook.url}"
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, "--live") as running,
    ):
        raised = await running.said("alert.raised", alert="position.margin_call")
        # Told again, as nobody has acknowledged it; a busy machine may have something to say as well.
        body, *_ = await hook.came(2, title="position.margin_call")
        assert body["type"] == "failure"
        assert raised["text"] in body["message"]
        given = await ground.ask("notify", "ack", "position.margin_call", "main")
        assert await given.ended() == 0
        assert "taken by the running keeper" in given.output
        await running.said("alert.acknowledged", alert="position.margin_call")
        # The owner pays what was called for, to the unit.
        raw = int(raised["fields"]["Repay_USDC"])
        contracts = ground.chain.contracts
        usdc, pool = contracts.tokens["USDC"], contracts.aave.pool
        ground.chain.mint("USDC", one.account.address, raw)
        ground.chain.transact(one.account.address, usdc, "approve", pool.address, raw)
        ground.chain.transact(
            one.account.address, pool, "repay", usdc.address, raw, 2, one.account.address
        )
        await ground.pass_block(running)
        assert ground.health(one) >= target_of(one)
        assert running.all("alert.resolved", alert="position.margin_call")
        said = running.text + running.output
    assert TOKEN not in said


async def test_notify_test__one_channel_fails__is_named_and_the_others_are_tried(
    ground: Ground, hook: Receiver
) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    ground.environ |= {
        "KEEPER_CHANNELS__CHAT__APPRISE_URL": f"json://{hook.url}",
        "KEEPER_CHANNELS__PHONE__APPRISE_URL": f"json://127.0.0.1:1/{TOKEN}",
    }
    tried = await ground.ask("notify", "test")
    assert await tried.ended() == 1
    assert "chat: sent" in tried.output
    assert "phone: FAILED: " in tried.output
    assert "this is a test" in json.dumps(hook.bodies)
    only = await ground.ask("notify", "test", "--channel", "chat")
    assert await only.ended() == 0
    assert TOKEN not in tried.output + tried.text + only.output


async def test_notify__nobody_to_tell_and_nobody_running__says_so(ground: Ground) -> None:
    ground.guard(health="1.50")
    ground.config(ground.chain.rpc_url, None)
    tried = await ground.ask("notify", "test")
    assert await tried.ended() == 78
    assert "KEEPER_CHANNELS__PHONE__APPRISE_URL" in tried.text
    given = await ground.ask("notify", "ack")
    assert await given.ended() == 1
    assert "no keeper is running" in given.output
