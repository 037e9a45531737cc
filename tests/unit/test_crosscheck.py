"""Now and then the others are asked although nothing is sent: a hidden danger is found out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keeper.chain.standing import Standing
from keeper.engine.crosscheck import EVERY_S
from tests.unit.fake_rpc import header
from tests.unit.test_witness import alerts, cheaper, less_debt, witness
from tests.unit.toy_chain import ALICE, BOB, Ground, State

BLOCK_S = 12


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """Two healthy positions: nothing is sent."""
    ground = Ground(tmp_path / "journal.sqlite3")
    for who in (ALICE, BOB):
        ground.watch(who.address, principal=8_000 * 10**6)
    yield ground
    ground.store.close()


async def passes(ground: Ground, count: int) -> None:
    for _ in range(count):
        await ground.engine.run_pass(ground.chain.block())


def standings(ground: Ground) -> list[Standing]:
    return [each.state.standing for each in ground.pool.endpoints]


async def test_look__nothing_to_send__asks_each_other_once_a_minute_in_one_post(
    ground: Ground,
) -> None:
    others = [witness(ground), witness(ground)]
    await ground.start()
    await passes(ground, 2 * EVERY_S // BLOCK_S + 1)
    for other in others:
        # Both accounts in one call, and the nonces of both signers.
        nonces = ["eth_getTransactionCount"] * 2
        blocks = ["eth_getBlockByHash"] * 2
        assert other.methods == [["eth_chainId", *blocks, "eth_call", *nonces]] * 3
    assert ground.chain.node.raws == []
    assert alerts(ground) == set()


async def test_look__one_endpoint_only__costs_nothing(ground: Ground) -> None:
    await ground.start()
    posts = len(ground.chain.node.rpc.posts)
    await passes(ground, 1)
    assert len(ground.chain.node.rpc.posts) == posts + 1


async def test_look__most_count_other_nonces__another_is_read_from_the_next_block_on(
    ground: Ground,
) -> None:
    for _ in range(2):
        witness(ground).answers["eth_getTransactionCount"] = lambda *_: "0x5"
    await ground.start()
    await passes(ground, 2)
    assert standings(ground) == [Standing.OUTVOTED, Standing.ALIVE, Standing.ALIVE]


@pytest.mark.parametrize("sees", [cheaper, less_debt])
async def test_look__most_see_otherwise__another_is_read_from_the_next_block_on(
    ground: Ground, sees: Callable[[State], None]
) -> None:
    witness(ground, sees), witness(ground, sees)
    await ground.start()
    await passes(ground, 1)
    assert alerts(ground) == {("endpoints.disagree", "warning")}
    assert standings(ground)[0] is Standing.ALIVE
    await passes(ground, 1)
    assert alerts(ground) == {("endpoints.disagree", "critical")}
    assert standings(ground) == [Standing.OUTVOTED, Standing.ALIVE, Standing.ALIVE]
    assert ground.pool.in_order()[0].name == "witness 1"


async def test_look__one_of_three_sees_otherwise__is_outvoted_and_the_alert_is_over(
    ground: Ground,
) -> None:
    witness(ground), witness(ground, cheaper)
    await ground.start()
    await passes(ground, 2)
    assert standings(ground) == [Standing.ALIVE, Standing.ALIVE, Standing.OUTVOTED]
    await passes(ground, 1)
    assert alerts(ground) == set()


async def test_look__two_see_different_things__alerts_until_they_agree(ground: Ground) -> None:
    liar = witness(ground, less_debt)
    await ground.start()
    await passes(ground, 3)
    assert standings(ground) == [Standing.ALIVE, Standing.ALIVE]
    assert alerts(ground) == {("endpoints.disagree", "critical")}
    liar.answers |= witness(ground).answers
    await passes(ground, 1)
    assert alerts(ground) == set()


async def test_look__differs_for_one_block__nobody_is_outvoted(ground: Ground) -> None:
    first, second = witness(ground, cheaper), witness(ground, cheaper)
    await ground.start()
    await passes(ground, 1)
    honest = witness(ground).answers
    first.answers |= honest
    second.answers |= honest
    await passes(ground, 1)
    assert standings(ground) == [Standing.ALIVE] * 3
    assert alerts(ground) == set()


async def test_look__others_do_not_have_the_block_yet__asks_again_at_the_next(
    ground: Ground,
) -> None:
    other = witness(ground)
    knows = other.answers["eth_getBlockByHash"]
    other.answers["eth_getBlockByHash"] = lambda found, full: (
        knows(found, full) if int(found[3:], 16) < 101 else None
    )
    await ground.start()
    await passes(ground, 1)
    assert alerts(ground) == set()
    other.answers["eth_getBlockByHash"] = knows
    await passes(ground, 2)
    assert len(other.posts) == 2


async def test_look__nobody_ever_has_its_blocks__is_outvoted(ground: Ground) -> None:
    """Blocks made up on real parents, to show a calm that is not there."""
    for other in (witness(ground), witness(ground)):
        other.answers["eth_getBlockByHash"] = lambda found, _: (
            header(ground.chain.head)
            if int(found[3:], 16) == ground.chain.head.number - 1
            else None
        )
    await ground.start()
    for _ in range(2):
        await passes(ground, 1)
        ground.chain.block()
    assert standings(ground)[0] is Standing.OUTVOTED


async def test_look__others_fail__passes_go_on(ground: Ground) -> None:
    witness(ground).down = True
    await ground.start()
    await passes(ground, 3)
    assert ground.engine.passes == 3
    assert alerts(ground) == set()
