"""What the daemon brings over from a loan into a perp's margin, through the owner's guardian."""

import json

import pytest

from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.proxy import RecordingProxy
from keeper.model.units import WAD
from tests.devnet.keeping.ground import Ground
from tests.devnet.test_daemon_perp_guardian import POLICY
from tests.guardian.ground import DOLLAR, USDC
from tests.guardian.perp_ground import Lending, perp_ground

FLOOR = 16 * WAD // 10
LOAN = """\
[policies.loan]
floor = 1.2
target = 1.4
max_per_action_usd = 100_000
max_per_day_usd = 200_000
"""


class Ward:
    """A long of ether at nearly ten times, at health 1.2 and without a wallet; beside it 5,000 dollars
    lent and an ether borrowed, of which about 600 dollars are spare. The key owns gas alone."""

    def __init__(self, ground: Ground, perp: PerpMarket) -> None:
        self.ground = ground
        self.perp = perp_ground(perp, target=153 * WAD // 100)
        self.lending = Lending(self.perp, 5_000 * USDC, WAD)
        owner, keeper = self.perp.owner, ground.chain.account("keeper")
        guarded = (
            f'[[positions]]\nlabel = "long"\nmarket = "perp"\naccount = "{owner}"\n'
            f'policy = "perp"\nsigner = "perp"\nguardian = "{self.perp.guardian.address}"\n'
        )
        ground.sections += [perp.toml(), f"{POLICY}\n{LOAN}\n[signers.perp]\n\n{guarded}"]
        ground.environ = {"KEEPER_SIGNERS__PERP__PRIVATE_KEY": keeper.private_key}
        self.perp.move(self.perp.index() / WAD * 0.975)
        ground.first_block = ground.block() + 1

    async def acts(self, purpose: str, *, ends_episode: bool = True) -> list[dict[str, str]]:
        """The ways that a live keeper considered for the action that it took. `ends_episode`: it
        reaches the target, so that nothing is left open."""
        ground = self.ground
        async with (
            RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
            ground.keeper(proxy, "--live") as running,
        ):
            await running.said("transaction.sent", purpose=purpose)
            if ends_episode:
                await ground.until_concluded(running)
            else:
                await ground.pass_block(running)
                assert running.all("plan.concluded", succeeded=True)
            assert proxy.recording.reads_per_block() <= 2
        decision = next(each for each in ground.decisions() if each.approved)
        assert decision.as_predicted
        assert [each.purpose for each in decision.transactions] == [purpose]
        assert ground.flaws() == []
        explained = json.loads((await ground.ask("explain", str(decision.id), "--json")).output)
        found: list[dict[str, str]] = explained["document"]["options"]
        return found


@pytest.fixture
def made(ground: Ground, perp: PerpMarket) -> Ward:
    return Ward(ground, perp)


async def test_daemon__spare_in_a_loan__is_moved_as_predicted_and_the_loan_keeps_its_floor(
    made: Ward,
) -> None:
    made.lending.allow(FLOOR)
    lent, size = made.lending.lent, made.perp.size()
    options = await made.acts("MoveMargin")
    assert made.lending.lent < lent
    assert made.lending.health >= FLOOR
    assert made.perp.size() == size
    assert made.perp.health == pytest.approx(15 * WAD // 10, rel=0.001)
    (chosen,) = (each for each in options if each["verdict"] == "chosen")
    assert (chosen["kind"], chosen["source"]) == ("MoveMargin", "spare")


async def test_daemon__loan_at_its_floor__makes_the_position_smaller_instead(made: Ward) -> None:
    made.lending.allow(19 * WAD // 10)
    lent = made.lending.lent
    options = await made.acts("ReducePosition")
    assert made.lending.lent >= lent
    (moving,) = (each for each in options if each["kind"] == "MoveMargin")
    assert "nothing is spare above health 1.9" in moving["verdict"]


async def test_daemon__limit_of_moves_too_small_for_the_target__is_kept(made: Ward) -> None:
    """What it does not reach is left to the next source, in a later block."""
    made.lending.allow(FLOOR, limit=150 * DOLLAR)
    lent = made.lending.lent
    await made.acts("MoveMargin", ends_episode=False)
    assert lent - made.lending.lent == pytest.approx(150 * USDC, rel=1e-3)


async def test_daemon__owner_allows_no_move__considers_none(made: Ward) -> None:
    lent = made.lending.lent
    options = await made.acts("ReducePosition")
    assert made.lending.lent >= lent
    assert "MoveMargin" not in {each["kind"] for each in options}
