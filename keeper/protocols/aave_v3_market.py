"""An Aave 3.0 market found from its PoolAddressesProvider, and the refusal of any other version."""

from dataclasses import dataclass

from keeper.abi.aave_v3 import AddressesProvider, Oracle, Pool
from keeper.abi.erc20 import DECIMALS, SYMBOL, decode_symbol
from keeper.abi.words import split_words, word_to_address
from keeper.model.errors import ConfigurationError, Problem
from keeper.model.reading import CallFailedError, Reading, ReadingError, Returns
from keeper.model.units import Address, Token
from keeper.model.values import NOTHING_LISTED, Listed
from keeper.protocols.aave_v3_reserve import Reserve, ReserveConfiguration

SUPPORTED_POOL_REVISIONS = frozenset({1})
"""POOL_REVISION in protocol/pool/Pool.sol of @aave/core-v3 1.19.3."""

USD_UNIT = 10**8
ZERO_ADDRESS = Address("0x" + "00" * 20)


class UnsupportedMarketError(ReadingError, ConfigurationError):
    """The address given does not lead to a market whose arithmetic is known exactly."""

    def __init__(self, provider: Address, what: str, why: str, fix: str) -> None:
        where = f"PoolAddressesProvider {provider}"
        ConfigurationError.__init__(self, Problem(where=where, what=what, why=why, fix=fix))
        self.provider = provider


class UnsupportedRevisionError(UnsupportedMarketError):
    """A pool of another version: `found` is its POOL_REVISION, or None if it names none."""

    def __init__(self, provider: Address, found: int | None) -> None:
        supported = ", ".join(map(str, sorted(SUPPORTED_POOL_REVISIONS)))
        super().__init__(
            provider,
            f"the pool's POOL_REVISION is {found}; supported: {supported} (Aave v3.0)",
            "every revision rounds and values positions in its own way; with another one's "
            "arithmetic health would be wrong",
            "take the market out of the configuration, or use a version of keeper that knows it",
        )
        self.found = found
        self.supported = SUPPORTED_POOL_REVISIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySource:
    """An efficiency mode in use by a reserve, and the oracle key that prices it, if any."""

    index: int
    price_key: Address | None
    price_source: Address | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AaveMarket:
    """What stays the same from block to block; refreshed by discovering it again."""

    chain_id: int
    name: str
    provider: Address
    pool: Address
    oracle: Address
    reserves: tuple[Reserve, ...]
    """Ordered as the pool iterates over them."""
    categories: tuple[CategorySource, ...]


def price_sources(market: AaveMarket) -> tuple[Address, ...]:
    """The feeds behind its prices, those of efficiency modes included."""
    own = (reserve.price_source for reserve in market.reserves)
    modes = (category.price_source for category in market.categories)
    return tuple(dict.fromkeys(each for each in (*own, *modes) if each and each != ZERO_ADDRESS))


def contracts(market: AaveMarket) -> tuple[Address, ...]:
    """What a position trusts: the pool, its oracle, and the tokens that count what is held and owed."""
    return (
        market.pool,
        market.oracle,
        *(each for r in market.reserves for each in (r.a_token, r.variable_debt_token)),
    )


def hedges(market: AaveMarket) -> dict[Address, str]:  # noqa: ARG001 - every adapter says
    """None: a loan is no trade."""
    return {}


def derived_tokens(market: AaveMarket) -> dict[Address, str]:
    """What counts deposits and debts, each with what it is: easily taken for the token itself."""
    return {
        address: f"the {kind} of {reserve.token.symbol}, whose own address is "
        f"{reserve.token.address}"
        for reserve in market.reserves
        for kind, address in (
            ("aToken", reserve.a_token),
            ("variable debt token", reserve.variable_debt_token),
            ("stable debt token", reserve.stable_debt_token),
        )
    }


def discover(
    provider: Address,
    *,
    chain_id: int,
    name: str,
    listed: Listed = NOTHING_LISTED,  # noqa: ARG001 - a pool lists its reserves
) -> Reading[AaveMarket]:
    """The market behind a PoolAddressesProvider, in four or five round trips.

    Raises `UnsupportedRevisionError` or `UnsupportedMarketError` if it is not an Aave 3.0 market
    with USD prices of 8 decimals.
    """
    returns = yield (
        AddressesProvider.GET_POOL(provider),
        AddressesProvider.GET_PRICE_ORACLE(provider),
    )
    if not returns.has_word().all():
        raise UnsupportedMarketError(
            provider,
            "no PoolAddressesProvider answers there",
            "getPool() or getPriceOracle() failed",
            "check the address and the chain: Aave's address book lists POOL_ADDRESSES_PROVIDER",
        )
    pool, oracle = word_to_address(returns.word(0)), word_to_address(returns.word(1))
    assets = yield from _assets(provider, pool, oracle)
    reserves, categories = yield from _reserves(pool, oracle, assets)
    return AaveMarket(
        chain_id=chain_id,
        name=name,
        provider=provider,
        pool=pool,
        oracle=oracle,
        reserves=reserves,
        categories=(yield from _categories(pool, oracle, categories)),
    )


def _assets(provider: Address, pool: Address, oracle: Address) -> Reading[tuple[Address, ...]]:
    returns = yield (
        Pool.POOL_REVISION(pool),
        Oracle.BASE_CURRENCY(oracle),
        Oracle.BASE_CURRENCY_UNIT(oracle),
        Pool.GET_RESERVES_LIST(pool),
    )
    revision = returns.word(0) if returns.has_word()[0] else None
    if revision not in SUPPORTED_POOL_REVISIONS:
        raise UnsupportedRevisionError(provider, revision)
    if returns.word(1) != 0 or returns.word(2) != USD_UNIT:
        raise UnsupportedMarketError(
            provider,
            f"prices are in units of {returns.word(2)} of currency {returns.word(1):#x}",
            "limits and costs are in USD, which the oracle must quote with 8 decimals",
            "take the market out of the configuration",
        )
    return tuple(word_to_address(word) for word in split_words(returns.output(3))[2:])


def _reserves(
    pool: Address, oracle: Address, assets: tuple[Address, ...]
) -> Reading[tuple[tuple[Reserve, ...], tuple[int, ...]]]:
    returns = yield tuple(
        call
        for asset in assets
        for call in (
            Pool.GET_RESERVE_DATA(pool, asset),
            SYMBOL(asset),
            DECIMALS(asset),
            Oracle.GET_SOURCE_OF_ASSET(oracle, asset),
        )
    )
    reserves, categories = [], set()
    for place, asset in enumerate(assets):
        at = 4 * place
        stored = reserve_data(returns, at)
        a_token, stable, variable = map(word_to_address, stored[8:11])
        reserves.append(
            Reserve(
                index=stored[7],
                token=Token(
                    address=asset,
                    symbol=decode_symbol(returns.output(at + 1)),
                    decimals=returns.word(at + 2),
                ),
                a_token=a_token,
                stable_debt_token=stable,
                variable_debt_token=variable,
                price_source=word_to_address(returns.word(at + 3)),
            )
        )
        categories.add(ReserveConfiguration(stored[0]).e_mode_category)
    ordered = tuple(sorted(reserves, key=lambda reserve: reserve.index))
    return ordered, tuple(sorted(categories - {0}))


def _categories(
    pool: Address, oracle: Address, indexes: tuple[int, ...]
) -> Reading[tuple[CategorySource, ...]]:
    if not indexes:
        return ()
    returns = yield tuple(Pool.GET_E_MODE_CATEGORY_DATA(pool, index) for index in indexes)
    keys = [category_key(category_data(returns, place)) for place in range(len(indexes))]
    priced = tuple(key for key in keys if key is not None)
    sources: dict[Address, Address] = {}
    if priced:
        returns = yield tuple(Oracle.GET_SOURCE_OF_ASSET(oracle, key) for key in priced)
        sources = {key: word_to_address(returns.word(i)) for i, key in enumerate(priced)}
    return tuple(
        CategorySource(index=index, price_key=key, price_source=sources[key] if key else None)
        for index, key in zip(indexes, keys, strict=True)
    )


def reserve_data(returns: Returns, index: int) -> tuple[int, ...]:
    """getReserveData's words (types/DataTypes.sol, ReserveData)."""
    return static_words(returns, index, 15)


def category_data(returns: Returns, index: int) -> tuple[int, ...]:
    """getEModeCategoryData's static members: max LTV, liquidation threshold, liquidation bonus,
    price key (types/DataTypes.sol, EModeCategory); the first word leads to them."""
    return static_words(returns, index, 5)[1:]


def static_words(returns: Returns, index: int, count: int) -> tuple[int, ...]:
    """The first `count` words of a return. Raises `CallFailedError` if there are fewer."""
    words = split_words(returns.output(index))
    if len(words) < count:
        raise CallFailedError(index, returns.output(index))
    return words[:count]


def category_key(static: tuple[int, ...]) -> Address | None:
    """The oracle key of a category's own price, if it has one."""
    return word_to_address(static[3]) if static[3] else None
