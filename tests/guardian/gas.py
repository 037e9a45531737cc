"""Gas of each action through the guardian, beside the naked protocol calls that do the same.

`make gas` prints the table. The naked side is what the owner would send without a guardian, call by
call and with no check at all: the approvals, the calls to Aave and to Uniswap's router, for the very
amounts that the guardian moved, from the same state. Each is a transaction of its own; "in one"
counts the base cost of a transaction once, as if one contract made all the calls. "Health" is the part
of the guardian's gas that Aave takes to tell the account's health, before and after.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.packed import encode_packed

from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import VARIABLE_RATE, ChainSpec, LocalChain, local_chain
from keeper.devnet.toolchain import install
from keeper.devnet.uniswap import PoolKey
from keeper.model.units import WAD
from tests.guardian.ground import Ground, ground

TRANSACTION_GAS: Final = 21_000
READ_ACCOUNT: Final = "0xbf92857c"
"""getUserAccountData(address)."""
WETH_USDC: Final[PoolKey] = ("WETH", "USDC", 500)
TWO_HOPS: Final[tuple[PoolKey, ...]] = (("WETH", "USDC", 500), ("DAI", "USDC", 100))

Naked = tuple[Contract, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Gas used, refunds taken off."""

    action: str
    guardian: int
    health: int
    naked: int
    naked_transactions: int

    @property
    def in_one(self) -> int:
        """The naked calls in one transaction."""
        return self.naked - TRANSACTION_GAS * (self.naked_transactions - 1)


def measure(chain: LocalChain) -> tuple[Row, ...]:
    """One row per action."""
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
    health = made.frames(made.keeper, *call(made), selector=READ_ACCOUNT)
    state = chain.snapshot()
    receipt = made.send(made.keeper, *call(made))
    moved = made.events(receipt)[-1]
    chain.revert(state)
    calls = naked(made, debt, moved)
    used = [
        chain.transact(made.owner, contract, function, *arguments)["gasUsed"]
        for contract, function, arguments in calls
    ]
    chain.revert(born)
    return Row(
        action=action,
        guardian=int(receipt["gasUsed"], 16),
        health=sum(int(frame["gasUsed"], 16) for frame in health),
        naked=sum(int(gas, 16) for gas in used),
        naked_transactions=len(calls),
    )


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


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| action | guardian | of it health | naked calls | ratio | in one | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.action} | {row.guardian:,} | {row.health:,} "
        f"| {row.naked:,} | {row.guardian / row.naked:.2f} "
        f"| {row.in_one:,} | {row.guardian / row.in_one:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    with local_chain(ChainSpec(), install(lambda _: None)) as chain:
        print(table(measure(chain)))  # noqa: T201 - it is what was asked for
