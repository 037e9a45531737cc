"""Pool prices, worked by hand for both orders of the two tokens."""

import pytest

from keeper.devnet.artifacts import Contract, Interface
from keeper.devnet.pools import Pair
from keeper.model.units import Address, Token

LOW, HIGH = Address("0x" + "11" * 20), Address("0x" + "99" * 20)
TRADER = Address("0x" + "55" * 20)


def pair(base: Address, quote: Address) -> Pair:
    return Pair(
        pool=Contract(address=Address("0x" + "77" * 20), interface=Interface(())),
        base=Token(address=base, symbol="WETH", decimals=18),
        quote=Token(address=quote, symbol="USDC", decimals=6),
        fee=500,
    )


@pytest.mark.parametrize(
    ("base", "quote", "root"),
    [
        # 100 USDC per WETH: 100e6 / 1e18 = 1e-10 raw USDC per raw WETH, its root is 1e-5.
        (LOW, HIGH, 2**96 / 10**5),
        # The other way round 1e10 raw WETH per raw USDC, its root is 1e5.
        (HIGH, LOW, 2**96 * 10**5),
    ],
)
def test_sqrt_price__hundred_dollars__is_the_root_of_the_raw_ratio(
    base: Address, quote: Address, root: float
) -> None:
    weth = pair(base, quote)
    assert weth.sqrt_price(100.0) == pytest.approx(root, rel=1e-12)
    assert weth.price(weth.sqrt_price(100.0)) == pytest.approx(100.0, rel=1e-12)


@pytest.mark.parametrize(("base", "quote"), [(LOW, HIGH), (HIGH, LOW)])
def test_trade__price_to_fall__sells_the_base(base: Address, quote: Address) -> None:
    weth = pair(base, quote)
    falling = weth.trade(TRADER, weth.sqrt_price(100.0), 90.0)
    rising = weth.trade(TRADER, weth.sqrt_price(100.0), 110.0)
    assert falling is not None
    assert rising is not None
    assert falling[:2] == (base, quote)
    assert rising[:2] == (quote, base)
    assert falling[-1] == weth.sqrt_price(90.0)


def test_trade__already_there__nothing_to_do() -> None:
    weth = pair(LOW, HIGH)
    assert weth.trade(TRADER, weth.sqrt_price(100.0), 100.0) is None
