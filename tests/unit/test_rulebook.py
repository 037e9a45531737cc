"""Only the keeper's own calls are signed, within the limits, whatever planned them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from keeper.abi.aave_v3 import Pool
from keeper.abi.erc20 import APPROVE
from keeper.abi.words import MAX_UINT256, Function
from keeper.chain.transactions.seams import SignatureRequest
from keeper.engine.rulebook import FORBIDDEN, Rulebook
from keeper.engine.watch import Watched, WatchedMarket
from keeper.mandate import guardian
from keeper.mandate.guardian import Guard
from keeper.model.liquidity import Hop, Route
from keeper.model.units import WAD, Address, Amount, Price, Wad, Wei
from keeper.model.values import (
    AddCollateral,
    Deleverage,
    PositionId,
    Purse,
    Repay,
    Transaction,
)
from keeper.policy.settings import Policy
from keeper.protocols import aave_v3
from keeper.service.notifications import Notifications
from tests.unit import test_aave_position as aave
from tests.unit.fake_rpc import address

WETH, USDC = (
    replace(each, token=replace(each.token, address=address(digits)))
    for each, digits in ((aave.WETH, "ee"), (aave.USDC, "dc"))
)
CHAIN_ID, NOW, USD8 = 31_337, 1_700_000_000, 10**8
ALICE, GUARDED, KEEPER = address("a1"), address("b2"), address("c3")
PROVIDER, POOL, GUARDIAN, STRANGER = address("d4"), address("e5"), address("f6"), address("97")
MARKET = aave_v3.AaveMarket(
    chain_id=CHAIN_ID,
    name="aave",
    provider=PROVIDER,
    pool=POOL,
    oracle=address("98"),
    reserves=(WETH, USDC),
    categories=(),
)
POLICY = Policy(
    name="careful",
    floor=Wad(WAD),
    trigger_probability=None,
    horizon_s=86_400,
    target=Wad(2 * WAD),
    max_health_to_act=Wad(2 * WAD),
    max_per_action_usd8=4_000 * USD8,
    max_per_day_usd8=10_000 * USD8,
    min_action_usd8=USD8,
)
GUARD = Guard(
    guardian=GUARDIAN,
    market=PROVIDER,
    keeper=KEEPER,
    purse=Purse(holder=GUARDED, spender=GUARDIAN),
    sources=("wallet", "pool"),
)
MANDATE_HASH = bytes(range(32))


def position(account: Address) -> PositionId:
    return PositionId(chain_id=CHAIN_ID, market="aave", account=account)


class Prices:
    """The newest snapshot: WETH at 2,000, USDC at 1."""

    known = None

    def __init__(self) -> None:
        self.usd8 = {WETH.token.address: 2_000 * USD8, USDC.token.address: USD8}

    def price(self, token: Address) -> Price | None:
        value = self.usd8.get(token)
        return None if value is None else Price(value=value, decimals=8, updated_at=NOW)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody asks for {name}")


class Market(WatchedMarket):
    """Discovered and read."""

    def __init__(self) -> None:
        super().__init__(
            aave_v3, provider=PROVIDER, name="aave", chain_id=CHAIN_ID, accounts=(ALICE, GUARDED)
        )
        self._market = MARKET
        self.newest = Prices()


@dataclass
class Desk:
    moved_usd8: int = 0

    def __post_init__(self) -> None:
        self.market = Market()
        self.notifications = Notifications(clock=lambda: 0.0)
        self.rulebook = Rulebook(
            chain_id=CHAIN_ID,
            watched=[
                Watched(id=position(ALICE), label="alice", policy=POLICY),
                Watched(id=position(GUARDED), label="guarded", policy=POLICY, guard=GUARD),
            ],
            markets=[self.market],
            moved_since=lambda _position, _timestamp: self.moved_usd8,
            run=self.run,
            notifier=self.notifications,
        )

    async def run(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return method(*arguments, **named)

    async def asked(self, request: SignatureRequest) -> str | None:
        return await self.rulebook.objection(request, now=NOW)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def request(
    to: Address,
    data: bytes,
    *,
    of: Address = ALICE,
    signer: Address | None = None,
    value_wei: int = 0,
    replaces: bool = False,
    again: bool = False,
) -> SignatureRequest:
    return SignatureRequest(
        chain_id=CHAIN_ID,
        signer=signer or (ALICE if of == ALICE else KEEPER),
        position=position(of),
        transaction=Transaction(to=to, data=data, value_wei=Wei(value_wei), purpose="Repay"),
        replaces=replaces or again,
        again=again,
        replaced_wei=Wei(0),
        most_wei=Wei(1),
    )


def usdc(whole: int) -> int:
    return whole * USDC.token.unit


def repay(whole: int = 1_000, *, whose: Address = ALICE, mode: int = 2) -> bytes:
    return Pool.REPAY.encode(USDC.token.address, usdc(whole), mode, whose)


def supply(ether: int = 1, *, whose: Address = ALICE, referral: int = 0) -> bytes:
    return Pool.SUPPLY.encode(WETH.token.address, ether * 10**18, whose, referral)


def approve(raw: int, *, spender: Address = POOL) -> bytes:
    return APPROVE.encode(spender, raw)


def guarded(action: Any, *, guard: Guard = GUARD, mandate: bytes = MANDATE_HASH) -> bytes:
    return guardian.transaction(guard, mandate, action).data


def unwind(*, usdc_whole: int = 1_000, sold_raw: int = 10**18 // 2) -> Deleverage:
    """Half an ether, 1,000 USD, for 1,000 USDC."""
    hop = Hop(pool=address("99"), sells=WETH.token.address, buys=USDC.token.address, fee_ppm=500)
    return Deleverage(
        position=position(GUARDED),
        amount=Amount(raw=usdc(usdc_whole), token=USDC.token),
        sold=Amount(raw=sold_raw, token=WETH.token),
        route=Route(venue="toy", hops=(hop,)),
    )


def with_flash_loan(data: bytes) -> bytes:
    """The last of eight words is the flag."""
    return data[: 4 + 8 * 32 - 1] + b"\1" + data[4 + 8 * 32 :]


PAID = Repay(position=position(GUARDED), amount=Amount(raw=usdc(1_000), token=USDC.token))
ADDED = AddCollateral(position=position(GUARDED), amount=Amount(raw=10**18, token=WETH.token))


@pytest.mark.parametrize(
    "allowed",
    [
        request(POOL, repay()),
        request(POOL, repay(mode=1)),
        request(POOL, repay(4_400)),
        request(POOL, supply()),
        request(USDC.token.address, approve(usdc(1_000))),
        request(USDC.token.address, approve(0)),
        request(ALICE, b""),
        request(KEEPER, b"", of=GUARDED),
        request(GUARDIAN, guarded(PAID), of=GUARDED),
        request(GUARDIAN, guarded(ADDED), of=GUARDED),
        request(GUARDIAN, guarded(unwind()), of=GUARDED),
    ],
)
async def test_rulebook__what_keeper_itself_makes__is_signed(
    desk: Desk, allowed: SignatureRequest
) -> None:
    assert await desk.asked(allowed) is None
    assert desk.notifications.active == ()


@pytest.mark.parametrize(
    ("forbidden", "said"),
    [
        # chain
        (
            replace(request(POOL, repay()), chain_id=1),
            "for chain 1, and the settings are for 31337",
        ),
        # targets
        (request(STRANGER, repay()), "no call that this keeper makes"),
        (request(ALICE, repay()), "no call that this keeper makes"),
        (request(POOL, b""), "no call that this keeper makes"),
        (request(STRANGER, b""), "no call that this keeper makes"),
        (request(STRANGER, guarded(PAID), of=GUARDED), "no call that this keeper makes"),
        # the right target on behalf of a position that the call is not for
        (request(POOL, repay(), of=GUARDED), "no call that this keeper makes"),
        (request(GUARDIAN, guarded(PAID)), "no call that this keeper makes"),
        # selectors
        (
            request(
                POOL,
                Function("withdraw(address,uint256,address)").encode(
                    WETH.token.address, 1, STRANGER
                ),
            ),
            "0x69328dec is no call that this keeper makes",
        ),
        (
            request(
                USDC.token.address,
                Function("transfer(address,uint256)").encode(STRANGER, usdc(1)),
            ),
            "0xa9059cbb is no call",
        ),
        (
            request(GUARDIAN, Function("revoke_mandate(address)").encode(PROVIDER), of=GUARDED),
            "no call",
        ),
        # arguments
        (request(POOL, repay(whose=STRANGER)), f"it acts for {STRANGER}, not for {ALICE}"),
        (request(POOL, supply(whose=STRANGER)), f"it acts for {STRANGER}"),
        (request(POOL, supply(referral=7)), "no call that this keeper makes"),
        (request(POOL, repay(mode=3)), "no call that this keeper makes"),
        (request(POOL, repay() + b"\0"), "no call that this keeper makes"),
        (
            request(POOL, Pool.REPAY.encode(STRANGER, 1, 2, ALICE)),
            f"{STRANGER} is no token of the market",
        ),
        (request(USDC.token.address, approve(usdc(1), spender=STRANGER)), f"let {STRANGER} take"),
        (request(STRANGER, approve(1)), f"{STRANGER} is no token of the market"),
        (request(USDC.token.address, approve(1) + bytes(32)), "no call that this keeper makes"),
        (request(POOL, repay(), value_wei=1), "it would send 1 wei"),
        (request(ALICE, b"", value_wei=1), "it would send 1 wei"),
        (request(POOL, repay(), signer=KEEPER), f"{KEEPER} is not the signer"),
        (request(GUARDIAN, guarded(PAID), of=GUARDED, signer=ALICE), f"{ALICE} is not the signer"),
        (
            request(GUARDIAN, guarded(PAID, guard=replace(GUARD, market=STRANGER)), of=GUARDED),
            "no call that this keeper makes",
        ),
        (request(GUARDIAN, guarded(PAID, mandate=bytes(32)), of=GUARDED), "no call"),
        (request(GUARDIAN, guarded(unwind()) + bytes(32), of=GUARDED), "no call"),
        (request(GUARDIAN, with_flash_loan(guarded(unwind())), of=GUARDED), "no call"),
        # amounts: 4,000 USD are the most of one action, 4,400 with the headroom
        (request(POOL, repay(4_401)), "4,401.00 USD are more than max_per_action_usd = 4,000.00"),
        (request(POOL, supply(3)), "6,000.00 USD are more than max_per_action_usd"),
        (request(USDC.token.address, approve(usdc(4_401))), "4,401.00 USD are more"),
        (request(USDC.token.address, approve(MAX_UINT256)), f"let {POOL} take without limit"),
        (request(USDC.token.address, approve(2**255)), "without limit"),
        (
            request(GUARDIAN, guarded(unwind(usdc_whole=4_401, sold_raw=2 * 10**18)), of=GUARDED),
            "4,401.00",
        ),
        # 1 ether, 2,000 USD, for 1,000 USDC
        (
            request(GUARDIAN, guarded(unwind(sold_raw=10**18)), of=GUARDED),
            "it would sell 2,100.00 USD for 1,000.00",
        ),
    ],
)
async def test_rulebook__anything_else__is_not_signed_and_its_owner_hears_of_it(
    desk: Desk, forbidden: SignatureRequest, said: str
) -> None:
    objection = await desk.asked(forbidden)
    assert objection is not None
    assert said in objection
    assert [alert.name for alert in desk.notifications.active] == [FORBIDDEN]


async def test_rulebook__the_next_one_is_in_order__the_alert_is_over(desk: Desk) -> None:
    await desk.asked(request(POOL, repay(4_401)))
    await desk.asked(request(POOL, repay()))
    assert desk.notifications.active == ()


async def test_rulebook__position_that_is_not_configured_any_more__only_a_cancellation_is_signed(
    desk: Desk,
) -> None:
    gone = replace(request(POOL, repay()), position=position(STRANGER))
    assert "not among the positions" in str(await desk.asked(gone))
    cancel = replace(request(ALICE, b""), position=position(STRANGER))
    assert await desk.asked(cancel) is None


async def test_rulebook__day_is_used_up__nothing_more_is_signed_that_day(desk: Desk) -> None:
    desk.moved_usd8 = 10_000 * USD8
    assert await desk.asked(request(POOL, repay(1_000))) is None
    words = await desk.asked(request(POOL, repay(1_001)))
    assert "1,001.00 USD after 10,000.00 within the day are more than max_per_day_usd" in str(words)


async def test_rulebook__replacement_after_a_rise__may_be_dearer_but_not_without_limit(
    desk: Desk,
) -> None:
    """The same two ether that were 4,000 USD when they were allowed, and are 5,000 now."""
    assert isinstance(desk.market.newest, Prices)
    desk.market.newest.usd8[WETH.token.address] = 2_500 * USD8
    assert await desk.asked(request(POOL, supply(2), again=True)) is None
    assert await desk.asked(request(POOL, supply(2))) is not None
    for wrong in (approve(MAX_UINT256), approve(1, spender=STRANGER)):
        assert await desk.asked(request(USDC.token.address, wrong, again=True)) is not None


async def test_rulebook__takes_over_the_nonce_of_another_call__its_limits_hold(desk: Desk) -> None:
    desk.moved_usd8 = 10_000 * USD8
    words = await desk.asked(request(POOL, repay(1_001), replaces=True))
    assert "within the day are more than max_per_day_usd" in str(words)


async def test_rulebook__price_is_not_known__nothing_is_signed(desk: Desk) -> None:
    desk.market.newest = None
    assert "what USDC is worth is not known" in str(await desk.asked(request(POOL, repay())))
