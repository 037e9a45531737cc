"""What stands around a mandate: the allowances it lives on and the pools it names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keeper.abi.aave_v3 import Oracle
from keeper.abi.erc20 import ALLOWANCE
from keeper.abi.perp_v2 import DelegateApproval
from keeper.abi.words import Function, word_to_address
from keeper.mandate.charter import CONSENT_OF
from keeper.model.reading import Reading, ReadingError, Returns
from keeper.model.units import Address

_TOKEN0, _TOKEN1, _FEE = Function("token0()"), Function("token1()"), Function("fee()")
_LIQUIDITY, _FACTORY = Function("liquidity()"), Function("factory()")
_GET_POOL = Function("getPool(address,address,uint24)")
_delegated = DelegateApproval.CAN_OPEN_POSITION_FOR
_PRICE = Oracle.GET_ASSET_PRICE
_POOL_VIEWS = (_TOKEN0, _TOKEN1, _FEE, _LIQUIDITY, _FACTORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyedPool:
    """A Uniswap v3 pool as it describes itself."""

    address: Address
    token0: Address
    token1: Address
    fee_ppm: int
    liquidity: int
    """In range at the current price; 0 means that no swap can begin."""
    genuine: bool
    """Whether the factory that it names knows it as this pair's pool of this fee."""
    factory: Address
    unpriced: tuple[Address, ...]
    """Its tokens that the market's oracle has no price for: a guardian can judge no swap of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """At one block."""

    a_token_allowances: Mapping[Address, int]
    """Of the owner's aTokens for the guardian, by their collateral."""
    reserve_allowances: Mapping[Address, int]
    """Of the reserve's tokens for the guardian."""
    consent_until: int
    """Unix seconds; the owner's own reserve needs none."""
    pools: tuple[SurveyedPool | None, ...]
    """In the mandate's order; None for what is no pool."""
    delegated: bool = False
    """Whether the owner's perp positions are delegated to the guardian."""


def survey(
    *,
    guardian: Address,
    market: Address,
    owner: Address,
    reserve: Address,
    a_tokens: Mapping[Address, Address],
    reserve_tokens: Sequence[Address],
    pools: Sequence[Address],
    oracle: Address | None = None,
    delegation: Address | None = None,
) -> Reading[Survey]:
    """`a_tokens` by their collateral; `oracle` prices the tokens of pools; `delegation` is a perp venue's DelegateApproval. Two round
    trips."""
    tokens = tuple(dict.fromkeys(reserve_tokens))
    calls = (
        CONSENT_OF(guardian, market, reserve),
        *(ALLOWANCE(a_token, owner, guardian) for a_token in a_tokens.values()),
        *(ALLOWANCE(token, reserve, guardian) for token in tokens),
        *(view(pool) for pool in pools for view in _POOL_VIEWS),
        *(() if delegation is None else (_delegated(delegation, owner, guardian),)),
    )
    returns = yield calls
    consent = returns.output(0) if returns.ok(0) else b""
    words = [_word(returns, index) for index in range(1, len(calls))]
    first_pool = len(a_tokens) + len(tokens)
    described = [
        words[first_pool + n * len(_POOL_VIEWS) : first_pool + (n + 1) * len(_POOL_VIEWS)]
        for n in range(len(pools))
    ]
    return Survey(
        a_token_allowances=dict(zip(a_tokens, (w or 0 for w in words), strict=False)),
        reserve_allowances=dict(
            zip(tokens, (w or 0 for w in words[len(a_tokens) :]), strict=False)
        ),
        consent_until=int.from_bytes(consent[64:96], "big"),
        pools=(yield from _pools(pools, described, oracle)),
        delegated=delegation is not None and bool(words[-1]),
    )


def _pools(
    pools: Sequence[Address], described: Sequence[Sequence[int | None]], oracle: Address | None
) -> Reading[tuple[SurveyedPool | None, ...]]:
    known = [None if None in words else [word or 0 for word in words] for words in described]
    if not any(known):
        return (None,) * len(pools)
    tokens = tuple(dict.fromkeys(word_to_address(t) for w in known if w is not None for t in w[:2]))
    priced = () if oracle is None else tuple(_PRICE(oracle, token) for token in tokens)
    returns = yield (
        *priced,
        *(
            _GET_POOL(word_to_address(w[4]), word_to_address(w[0]), word_to_address(w[1]), w[2])
            for w in known
            if w is not None
        ),
    )
    unpriced = {t for n, t in enumerate(tokens) if priced and not _word(returns, n)}
    answers = iter(range(len(priced), len(priced) + len(known)))
    return tuple(
        None
        if w is None
        else SurveyedPool(
            address=pool,
            token0=word_to_address(w[0]),
            token1=word_to_address(w[1]),
            fee_ppm=w[2],
            liquidity=w[3],
            factory=word_to_address(w[4]),
            genuine=word_to_address(_word(returns, next(answers)) or 0) == pool,
            unpriced=tuple(t for t in map(word_to_address, w[:2]) if t in unpriced),
        )
        for pool, w in zip(pools, known, strict=True)
    )


def _word(returns: Returns, index: int) -> int | None:
    try:
        return returns.word(index)
    except ReadingError:
        return None
