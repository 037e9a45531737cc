"""Perp accounts made by hand: prices in whole dollars, sizes in whole tokens."""

from fractions import Fraction

from keeper.model.units import WAD, Address, Token
from keeper.model.values import PositionId
from keeper.protocols.perp_v2_market import MarginToken, Perp, PerpVenue
from keeper.protocols.perp_v2_position import (
    Holding,
    Leg,
    MarginState,
    PerpPosition,
    PerpState,
    Terms,
)
from keeper.protocols.perp_v2_reading import PerpSnapshot
from keeper.protocols.perp_v2_readset import ReadSet
from tests.unit.fake_rpc import address

TRADER = address("7a")
USDC = Token(address=address("0c"), symbol="USDC", decimals=6)
ETHER_FEED, BITCOIN_FEED = address("fe"), address("fb")


def _perp(symbol: str, digits: str, feed: Address) -> Perp:
    return Perp(
        token=Token(address=address(digits), symbol=symbol, decimals=18),
        pool=address("0x" + digits * 19 + "01"),
        price_feed=address("0x" + digits * 19 + "02"),
        aggregator=feed,
        fee_ratio=500,
    )


ETHER, BITCOIN = _perp("vETH", "e1", ETHER_FEED), _perp("vBTC", "b1", BITCOIN_FEED)
WETH = MarginToken(
    token=Token(address=address("3e"), symbol="WETH", decimals=18),
    price_feed=address("3f"),
    aggregator=ETHER_FEED,
    price_decimals=8,
)
VENUE = PerpVenue(
    chain_id=31_337,
    name="perp",
    clearing_house=address("c1"),
    vault=address("c2"),
    exchange=address("c3"),
    order_book=address("c4"),
    account_balance=address("c5"),
    config=address("c6"),
    delegate_approval=address("c7"),
    collateral_manager=address("c8"),
    settlement=USDC,
    quote=Token(address=address("f9"), symbol="vUSD", decimals=18),
    perps=(ETHER, BITCOIN),
    margins=(WETH,),
)


def terms(mm_ratio: str = "0.0625") -> Terms:
    """As the venue's contracts are initialised."""
    return Terms(
        mm_ratio=int(Fraction(mm_ratio) * 10**6),
        im_ratio=100_000,
        mm_ratio_buffer=5_000,
        debt_ratio=750_000,
        penalty_ratio=25_000,
        settlement_room=10**15,
        vault_paused=False,
        house_paused=False,
        max_margin_tokens=5,
        liquidation_ratio=500_000,
        insurance_ratio=30_000,
    )


def leg(perp: Perp, size: str, entry: int, price: int | None = None, funding: int = 0) -> Leg:
    """A position of `size` whole tokens that was opened at `entry`."""
    amount = int(Fraction(size) * WAD)
    state = PerpState(
        perp=perp,
        price=(entry if price is None else price) * WAD,
        market_price=(entry if price is None else price) * WAD,
        premium_x96=0,
        index_price=(entry if price is None else price) * WAD,
        halted=None,
    )
    return Leg(
        state=state,
        size=amount,
        open_notional=-amount * entry,
        since_x96=0,
        funding=funding * WAD,
    )


def weth(amount: str, price: int) -> Holding:
    """Ether as margin, of which 85 % counts."""
    state = MarginState(
        margin=WETH,
        price=price * 10**8,
        collateral_ratio=850_000,
        discount_ratio=50_000,
        room=10**30,
    )
    return Holding(state=state, balance=int(Fraction(amount) * WAD), wallet=0, allowance=0)


def account(
    *legs: Leg, margin: int, holdings: tuple[Holding, ...] = (), mm_ratio: str = "0.0625"
) -> PerpPosition:
    """An account with `margin` USDC."""
    return PerpPosition(
        id=PositionId(chain_id=31_337, market="perp", account=TRADER),
        venue=VENUE,
        timestamp=1_700_000_000,
        terms=terms(mm_ratio),
        balance=margin * 10**6,
        owed_pnl=0,
        debt_threshold=10_000 * 10**6,
        legs=legs,
        holdings=holdings,
        wallet=0,
        allowance=0,
    )


def snapshot(position: PerpPosition) -> PerpSnapshot:
    """Of one account."""
    return PerpSnapshot(
        venue=VENUE,
        timestamp=position.timestamp,
        terms=position.terms,
        perps=tuple(each.state for each in position.legs),
        margins=tuple(each.state for each in position.holdings),
        known=ReadSet.build(VENUE, (TRADER,), {}, {}),
        positions={TRADER: position},
    )
