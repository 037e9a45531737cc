"""Gas of each action through the guardians, beside the naked protocol calls that do the same.

`make gas` prints the table. The naked side is what the owner would send without a guardian, call by
call and with no check at all: the approvals, the calls to Aave and to Uniswap's router, or to Perp v2,
for the very amounts that the guardian moved, from the same state. Each is a transaction of its own; "in
one" counts the base cost of a transaction once, as if one contract made all the calls. "Health" is the
part of the guardian's gas that the protocol takes to tell the account's health, before and after.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from eth_abi.packed import encode_packed

from keeper.devnet.artifacts import Artifacts
from keeper.devnet.chain import VARIABLE_RATE, ChainSpec, LocalChain, local_chain
from keeper.devnet.perp import deploy_perp
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.toolchain import install
from keeper.devnet.uniswap import PoolKey
from keeper.model.units import WAD
from tests.guardian.gas_rows import Naked, Row, measured, table
from tests.guardian.ground import Ground, ground
from tests.guardian.perp_gas import measure_perp

READ_ACCOUNT: Final = "0xbf92857c"
"""getUserAccountData(address)."""
WETH_USDC: Final[PoolKey] = ("WETH", "USDC", 500)
TWO_HOPS: Final[tuple[PoolKey, ...]] = (("WETH", "USDC", 500), ("DAI", "USDC", 100))


def measure(chain: LocalChain) -> tuple[Row, ...]:
    """One row per action of the Aave guardian."""
    return (
        _row(chain, "add_collateral", _added, lambda made: made.add_collateral("WETH")),
        _row(chain, "repay", _repaid, lambda made: made.repay("USDC")),
        _row(chain, "deleverage, one pool", _unwound, lambda made: made.deleverage()),
        _row(
            chain,
            "deleverage, two pools",
            _unwound,
            lambda made: made.deleverage("WETH", "DAI", *TWO_HOPS),
            debt="DAI",
        ),
        _row(
            chain,
            "deleverage, flash loan",
            _unwound,
            lambda made: made.deleverage(flash_loan=True),
        ),
    )


def _row(
    chain: LocalChain,
    action: str,
    naked: Callable[[Ground, str, dict[str, Any]], Sequence[Naked]],
    call: Callable[[Ground], tuple[Any, ...]],
    debt: str = "USDC",
) -> Row:
    born = chain.snapshot()
    unit = chain.contracts.token(debt).unit
    made = ground(chain, {"WETH": 10 * WAD}, {debt: 16_500 * unit})
    for symbol in ("WETH", debt):
        chain.mint(symbol, made.owner, 20_000 * chain.contracts.token(symbol).unit)
        made.allow(made.token(symbol), 20_000 * chain.contracts.token(symbol).unit)
    made.set_mandate(reserve=made.owner)
    row = measured(
        made, action, call(made), lambda moved: naked(made, debt, moved), (READ_ACCOUNT,)
    )
    chain.revert(born)
    return row


def _added(made: Ground, debt: str, moved: dict[str, Any]) -> Sequence[Naked]:
    pool, weth = made.chain.contracts.aave.pool, made.token("WETH")
    return (
        (weth, "approve", (pool.address, moved["amount"])),
        (pool, "supply", (weth.address, moved["amount"], made.owner, 0)),
    )


def _repaid(made: Ground, debt: str, moved: dict[str, Any]) -> Sequence[Naked]:
    return _repayment(made, debt, moved["amount"])


def _unwound(made: Ground, debt: str, moved: dict[str, Any]) -> Sequence[Naked]:
    pool, router = made.chain.contracts.aave.pool, made.chain.contracts.uniswap.router
    weth, repaid, taken = made.token("WETH"), moved["repaid"], moved["taken"]
    path = _path(made, debt)
    return (
        *_repayment(made, debt, repaid),
        (pool, "withdraw", (weth.address, taken, made.owner)),
        (weth, "approve", (router.address, taken)),
        (router, "exactOutput", ((path, made.owner, repaid, taken),)),
    )


def _repayment(made: Ground, debt: str, amount: int) -> Sequence[Naked]:
    pool, token = made.chain.contracts.aave.pool, made.token(debt)
    return (
        (token, "approve", (pool.address, amount)),
        (pool, "repay", (token.address, amount, VARIABLE_RATE, made.owner)),
    )


def _path(made: Ground, debt: str) -> bytes:
    """From the debt's token back to WETH, as the router's exact output wants it."""
    weth, usdc = made.token("WETH").address, made.token("USDC").address
    last = ["address", "uint24", "address"], [usdc, 500, weth]
    if debt == "USDC":
        return encode_packed(*last)
    first = ["address", "uint24"], [made.token(debt).address, 100]
    return encode_packed(*first) + encode_packed(*last)


if __name__ == "__main__":
    tools = install(lambda _: None)
    with local_chain(ChainSpec(), tools) as chain:
        rows = measure(chain)
        artifacts = Artifacts(node_modules=tools.node_modules)
        market = PerpMarket(chain=chain, perp=deploy_perp(chain, artifacts))
        market.fund_arbitrageur()
        print(table((*rows, *measure_perp(market))))  # noqa: T201 - it is what was asked for
