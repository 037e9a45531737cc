"""Code that is replaced while the keeper runs."""

from pathlib import Path

from keeper.chain.code import IMPLEMENTATION_SLOT
from tests.unit.toy_chain import ALICE, Ground
from tests.unit.toy_protocol import market_address


def alerts(ground: Ground) -> list[tuple[str, str]]:
    return [each.key for each in ground.notifier.active]


async def test_pass__implementation_replaced__alerts_until_it_is_back_and_still_repays(
    tmp_path: Path,
) -> None:
    ground = Ground(tmp_path / "keeper.sqlite3")
    ground.watch(ALICE.address)
    behind = {"implementation": "0x01"}
    ground.chain.node.rpc.answers |= {
        "eth_getCode": lambda *_: "0x60",
        "eth_getStorageAt": lambda _, slot, __: (
            behind["implementation"] if slot == IMPLEMENTATION_SLOT else "0x00"
        ),
    }
    engine = await ground.start()
    await ground.look()
    assert alerts(ground) == []
    behind["implementation"] = "0x02"
    await engine.refresh(ground.chain.head)
    ground.price(1_800)
    await ground.block()
    assert alerts(ground) == [("contract.changed", market_address("toy"))]
    assert [tx.call[:4] for tx in ground.sent()] != []
    behind["implementation"] = "0x01"
    await engine.refresh(ground.chain.head)
    await ground.block()
    assert alerts(ground) == []


async def test_pass__node_that_does_not_tell_code__goes_on_without(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "keeper.sqlite3")
    ground.watch(ALICE.address)
    await ground.start()
    ground.price(1_800)
    await ground.look()
    assert ground.sent() != []
    assert alerts(ground) == []


async def test_pass__feed_jumps__alerts_for_those_who_depend_on_it_only(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "keeper.sqlite3", "toy", "other")
    ground.watch(ALICE.address)
    await ground.start()
    await ground.look()
    other, own = ground.chain.market("other").feed, ground.chain.market("toy").feed
    now = ground.chain.head.timestamp
    other.publish((other.rounds[-1][0] * 2, now))
    await ground.block()
    assert alerts(ground) == []
    own.publish((own.rounds[-1][0] * 2, now))
    await ground.block()
    assert alerts(ground) == [("oracle.jumped", own.address)]
