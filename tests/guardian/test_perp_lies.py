"""A venue and a settlement token that do what real ones never do, and what the perp guardian says."""

from dataclasses import dataclass, fields

import pytest

from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import LocalChain
from keeper.devnet.perp import PerpContracts
from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import WAD
from tests.guardian.ground import DOLLAR, USDC, Mandate, Refusal, deploy
from tests.guardian.mocks import mock
from tests.guardian.perp_ground import GUARDIAN, NEVER, PerpGround
from tests.guardian.test_callbacks import WORD

LOCKED = "eth_call: execution reverted (code 3)"
"""The compiler's lock reverts without a reason."""
PRICE = 1_600 * WAD
# Ten ether at 1,600 dollars want 6.25 % of 16,000: 1,000. 1,100 are there.
BEFORE = (1_100 * WAD, 1_000 * WAD, 10 * WAD)
# 100 dollars more.
DEPOSITED = (1_200 * WAD, 1_000 * WAD, 10 * WAD)
# One ether less.
REDUCED = (1_100 * WAD, 900 * WAD, 9 * WAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lying:
    """A venue that the owner gave a mandate for, at health 1.1, and 1,000 of its settlement token."""

    made: PerpGround
    venue: Contract
    token: Contract

    def do(self, contract: Contract, function: str, *arguments: object) -> None:
        """Anybody may tell the fakes what to do."""
        self.made.chain.transact(self.made.owner, contract, function, *arguments)

    def tell(
        self,
        after: tuple[int, int, int],
        *,
        before: tuple[int, int, int] = BEFORE,
        price: int = PRICE,
        quote: int = 1_600 * WAD,
    ) -> None:
        self.do(self.venue, "tell", before, after, price, quote)

    def held(self, account: str) -> int:
        return int(self.made.chain.read(self.token, "balanceOf", account))

    def add(self) -> Refusal:
        """How a deposit of 100 ends that must not succeed."""
        return self.made.refusal(self.made.keeper, *self.made.add(100 * USDC))

    def reduce(self) -> Refusal:
        """How a trade of one ether ends that must not succeed."""
        return self.made.refusal(self.made.keeper, *self.made.reduce(most=WAD))


@pytest.fixture
def lying(chain: LocalChain) -> Lying:
    token, owner = mock(chain, "OddToken"), chain.account("owner").address
    venue, keeper = mock(chain, "FakePerpVenue", token.address), chain.account("keeper").address
    everything = {each.name: venue for each in fields(PerpContracts)}
    contracts = PerpContracts(**everything | {"base_tokens": {"vETH": venue}})  # type: ignore[arg-type]  # one is all
    made = PerpGround(
        perp=PerpMarket(chain=chain, perp=contracts),
        owner=owner,
        keeper=keeper,
        guardian=deploy(chain, owner, GUARDIAN),
        mandate=Mandate(
            keeper=keeper,
            reserve=owner,
            max_health_to_act=130 * WAD // 100,
            target=150 * WAD // 100,
            slippage_urgent_bps=120,
            collaterals=(venue.address,),
        ),
    ).set_mandate()
    lying = Lying(made=made, venue=venue, token=token)
    lying.do(token, "mint", owner, 1_000 * USDC)
    lying.do(token, "approve", made.guardian.address, 1_000 * USDC)
    return lying


# -- a deposit -----------------------------------------------------------------------------------------


def test_deposit__as_it_should_be__passes(lying: Lying) -> None:
    made = lying.made
    lying.tell(DEPOSITED)
    (event,) = made.events(made.send(made.keeper, *made.add(100 * USDC)))
    assert (event["amount"], event["value"]) == (100 * USDC, 100 * DOLLAR)
    assert (event["health_before"], event["health_after"]) == (11 * WAD // 10, 12 * WAD // 10)
    assert lying.held(lying.venue.address) == 100 * USDC


def test_deposit__venue_takes_less_than_it_was_given__rest_goes_back_to_the_reserve(
    lying: Lying,
) -> None:
    made, guardian = lying.made, lying.made.guardian.address
    lying.tell(DEPOSITED)
    lying.do(lying.venue, "take", 7 * USDC, 0)
    made.send(made.keeper, *made.add(100 * USDC))
    assert lying.held(made.owner) == 907 * USDC
    assert lying.held(guardian) == 0
    assert made.chain.read(lying.token, "allowance", guardian, lying.venue.address) == 0


def test_move__venue_takes_less_than_was_brought__rest_goes_to_the_owner(lying: Lying) -> None:
    made, source = lying.made, mock(lying.made.chain, "FakeMarket")
    loan = (14_000 * DOLLAR, 5_000 * DOLLAR, 0, 8_000, 0, 224 * WAD // 100)
    lying.do(source, "tell", loan, loan, DOLLAR, WORD, 10_000 * USDC, 0)
    lying.do(lying.token, "mint", source.address, 10_000 * USDC)
    terms = (made.market, source.address, 160 * WAD // 100, 10_000 * DOLLAR, 0, NEVER)
    made.send(made.owner, "allow_move", *terms)
    lying.tell(DEPOSITED)
    lying.do(lying.venue, "take", 7 * USDC, 0)
    held = lying.held(made.owner)
    made.send(made.keeper, *made.bring(100 * USDC))
    assert lying.held(made.owner) == held + 7 * USDC
    assert lying.held(made.keeper) == lying.held(made.guardian.address) == 0


def test_deposit__something_takes_what_lay_there_before__is_refused(lying: Lying) -> None:
    lying.tell(DEPOSITED)
    lying.do(lying.token, "mint", lying.made.guardian.address, 500 * USDC)
    lying.do(lying.venue, "take", 0, 1)
    assert lying.add() == ("TransferShort", (500 * USDC - 1, 500 * USDC))


def test_deposit__token_with_a_fee__is_refused(lying: Lying) -> None:
    lying.tell(DEPOSITED)
    lying.do(lying.token, "charge", 100)
    assert lying.add() == ("TransferShort", (99 * USDC, 100 * USDC))


def test_deposit__token_that_says_no__is_refused(lying: Lying) -> None:
    lying.tell(DEPOSITED)
    lying.do(lying.token, "say_no", True)
    assert lying.add() == ("TransferRefused", (lying.token.address.lower(), 100 * USDC))


@pytest.mark.parametrize(
    "function",
    [
        *("set_mandate", "revoke_mandate", "freeze", "unfreeze", "consent"),
        *("add_margin", "reduce_position", "allow_move", "move"),
    ],
)
def test_deposit__token_that_calls_back_in__is_refused(lying: Lying, function: str) -> None:
    """Entry points share one lock, those of the core included."""
    made = lying.made
    lying.tell(DEPOSITED)
    call = {
        "set_mandate": ("set_mandate", made.market, made.mandate.words()),
        "consent": ("consent", made.market, DOLLAR, 0, 0),
        "add_margin": made.add(),
        "reduce_position": made.reduce(),
        "allow_move": ("allow_move", made.market, made.market, 2 * WAD, DOLLAR, 0, 0),
        "move": made.bring(),
    }.get(function, (function, made.market))
    hook = (made.guardian.address, made.guardian.encode(*call), False)
    lying.do(lying.token, "call_on_transfer", *hook)
    assert lying.add().name == LOCKED


def test_deposit__health_that_has_not_risen__is_refused(lying: Lying) -> None:
    lying.tell(BEFORE)
    assert lying.add() == ("HealthRoseTooLittle", (11 * WAD // 10, 11 * WAD // 10 + 1))


def test_deposit__health_past_the_target__is_refused(lying: Lying) -> None:
    lying.tell((1_516 * WAD, 1_000 * WAD, 10 * WAD))
    assert lying.add() == ("HealthAboveTarget", (1_516 * WAD // 1_000, 1_515 * WAD // 1_000))


# -- a trade -------------------------------------------------------------------------------------------


def test_trade__as_it_should_be__passes(lying: Lying) -> None:
    made = lying.made
    lying.tell(REDUCED)
    (event,) = made.events(made.send(made.keeper, *made.reduce(most=WAD)))
    assert (event["size"], event["quote"]) == (WAD, 1_600 * WAD)
    assert event["value"] == 1_600 * DOLLAR


@pytest.mark.parametrize("size", [10, -10])
@pytest.mark.parametrize("left", [10 * WAD, 9 * WAD - 1, 0])
def test_trade__another_size_is_left__is_refused(lying: Lying, size: int, left: int) -> None:
    side = size // abs(size)
    lying.tell((*REDUCED[:2], left * side), before=(*BEFORE[:2], size * WAD))
    assert lying.reduce() == ("SizeUnexpected", (left, 9 * WAD))


@pytest.mark.parametrize("side", [1, -1])
def test_trade__position_that_turned__is_refused(lying: Lying, side: int) -> None:
    lying.tell((*REDUCED[:2], -9 * WAD * side), before=(*BEFORE[:2], 10 * WAD * side))
    assert lying.reduce() == ("SizeUnexpected", (9 * WAD, 9 * WAD))


# Of the slippage two thirds of the way from calm (50) to urgent (120): 96 bps of 1,600 dollars.


def test_trade__long_sold_below_the_bound__is_refused(lying: Lying) -> None:
    bound = 1_600 * WAD * 9_904 // 10_000
    lying.tell(REDUCED, quote=bound - 1)
    assert lying.reduce() == ("SlippageTooHigh", (bound - 1, bound))
    lying.tell(REDUCED, quote=bound)
    lying.made.send(lying.made.keeper, *lying.made.reduce(most=WAD))


def test_trade__short_bought_above_the_bound__is_refused(lying: Lying) -> None:
    bound, short = 1_600 * WAD * 10_096 // 10_000, (*BEFORE[:2], -10 * WAD)
    lying.tell((*REDUCED[:2], -9 * WAD), before=short, quote=bound + 1)
    assert lying.reduce() == ("SlippageTooHigh", (bound + 1, bound))
    lying.tell((*REDUCED[:2], -9 * WAD), before=short, quote=bound)
    lying.made.send(lying.made.keeper, *lying.made.reduce(most=WAD))


def test_trade__health_past_the_target_at_the_value_from_before__is_refused(lying: Lying) -> None:
    # 1,100 / 700 = 1.571: more than was traded is gone from the requirement.
    lying.tell((1_200 * WAD, 700 * WAD, 9 * WAD))
    past = 1_100 * WAD * WAD // (700 * WAD)
    assert lying.reduce() == ("HealthAboveTarget", (past, 1_515 * WAD // 1_000))


def test_trade__value_gone_with_it__is_refused(lying: Lying) -> None:
    lying.tell((990 * WAD, 900 * WAD, 9 * WAD))
    assert lying.reduce() == ("HealthRoseTooLittle", (11 * WAD // 10, 11 * WAD // 10 + 1))


def test_trade__feed_that_answers_zero__is_refused(lying: Lying) -> None:
    lying.tell(REDUCED, price=0)
    assert lying.reduce() == ("AssetWithoutPrice", (lying.venue.address.lower(), 0))
