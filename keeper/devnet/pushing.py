"""Moves real Uniswap v3 pools on a fork along a path, with tokens lent by the market."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

from keeper.abi.erc20 import BALANCE_OF
from keeper.abi.uniswap_v3 import Pool as PoolAbi
from keeper.abi.words import Function, split_words, word_to_address
from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.overlay import deployer_on
from keeper.devnet.rpc import Rpc, RpcError
from keeper.model.reading import Call
from keeper.model.units import Address

SLOT0 = Function("slot0()")
TRANSFER = Function("transfer(address,uint256)")
NEAR = 1e-6
"""A pool this near to its price is left where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedPool:
    """A pool as it stood at the fork."""

    pool: Address
    token0: Address
    token1: Address
    first_sqrt_price: int

    def target(self, factors: Mapping[Address, float]) -> int:
        """Its `sqrtPriceX96` where its tokens are at these shares of their first prices. It limits a
        trade: to about 15 digits."""
        return int(self.first_sqrt_price * sqrt(factors[self.token0] / factors[self.token1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """One trade of the `PoolMover`."""

    to: Address
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pusher:
    """The trader, and the pools whose tokens' prices are known."""

    rpc: Rpc
    mover: Contract
    pools: tuple[PushedPool, ...]

    def pushes(self, factors: Mapping[Address, float]) -> list[Push]:
        """The trades that move the pools from where they are now."""
        found = []
        for pool in self.pools:
            now, target = sqrt_price(self.rpc, pool.pool), pool.target(factors)
            if abs(now / target - 1.0) < NEAR:
                continue
            down = target < now
            sells = pool.token0 if down else pool.token1
            data = self.mover.encode("move", pool.pool, sells, down, target)
            found.append(Push(to=self.mover.address, data=data))
        return found


def pusher(
    rpc: Rpc,
    artifacts: Artifacts,
    pools: Iterable[Address],
    lenders: Mapping[Address, Address],
) -> tuple[Pusher, tuple[Address, ...]]:
    """A mover with half of what each token's lender holds (aTokens hold what was supplied), and the
    pools that cannot be moved, for want of a lender or of an answer."""
    deployer = deployer_on(rpc)
    mover = deployer.create(artifacts.own("PoolMover"))
    deployer.flush()
    found, left = [], []
    for pool in dict.fromkeys(pools):
        try:
            tokens = [
                word_to_address(read_word(rpc, fact(pool)))
                for fact in (PoolAbi.TOKEN0, PoolAbi.TOKEN1)
            ]
            first = sqrt_price(rpc, pool)
        except (RpcError, IndexError):
            left.append(pool)
            continue
        if set(tokens) <= lenders.keys() and first:
            found.append(
                PushedPool(pool=pool, token0=tokens[0], token1=tokens[1], first_sqrt_price=first)
            )
        else:
            left.append(pool)
    for token in {each for pool in found for each in (pool.token0, pool.token1)}:
        lend(rpc, token, lenders[token], mover.address, share=2)
    return Pusher(rpc=rpc, mover=mover, pools=tuple(found)), tuple(left)


def lend(rpc: Rpc, token: Address, lender: Address, to: Address, *, share: int) -> None:
    """Move 1/`share` of what a contract holds of a token, in a block of its own, for no fee."""
    held = read_word(rpc, BALANCE_OF(token, lender))
    rpc.call("anvil_setNextBlockBaseFeePerGas", "0x0")
    rpc.call(
        "eth_sendTransaction",
        {
            "from": lender,
            "to": token,
            "data": "0x" + TRANSFER(token, to, held // share).data.hex(),
            "gas": hex(1_000_000),
            "maxFeePerGas": "0x0",
            "maxPriorityFeePerGas": "0x0",
        },
    )
    rpc.call("evm_mine")


def sqrt_price(rpc: Rpc, pool: Address) -> int:
    """A pool's `sqrtPriceX96`. Raises `RpcError` or `IndexError` where no pool answers."""
    return read_word(rpc, SLOT0(pool))


def read_word(rpc: Rpc, call: Call) -> int:
    """The first word of a view's answer. Raises `RpcError`, or `IndexError` where it is empty."""
    request = {"to": call.target, "data": "0x" + call.data.hex()}
    output = rpc.call("eth_call", request, "latest")
    return split_words(bytes.fromhex(output[2:]))[0]
