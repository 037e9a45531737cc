"""Gives a position on a fork to another account, whose key is at hand.

Debt cannot be transferred, and borrowing it anew would be refused to whoever is past the limit for
new borrowing: just the positions that need protection. So the pool itself is impersonated, and
burns and mints the debt as it does inside its own borrow and repay. What the market holds and owes
stays what it was. Sources: contracts/protocol of @aave/core-v3 1.19.3.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from keeper.abi.aave_v3 import Pool
from keeper.abi.erc20 import APPROVE, BALANCE_OF
from keeper.abi.words import Function, split_words
from keeper.chain.heads import Heads
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc as AsyncRpc
from keeper.devnet.rpc import Rpc, RpcError
from keeper.engine.watch import WatchedMarket
from keeper.mandate.charter import Charter, read_charter
from keeper.model.reading import Call
from keeper.model.units import Address
from keeper.model.values import Head
from keeper.protocols.aave_v3 import AavePosition, decode_error
from keeper.protocols.aave_v3_math import ray_mul_half_up
from keeper.protocols.aave_v3_position import Leg

VARIABLE_RATE = 2
FIRST_UNITS = 10
"""Raw units that are borrowed and repaid through the pool, so that it notes the new borrower and
sets its interest rates anew. One unit would round to no scaled debt once an index exceeds 2."""
GAS = 5_000_000

TRANSFER = Function("transfer(address,uint256)")
BURN_VARIABLE = Function("burn(address,uint256,uint256)")
MINT_VARIABLE = Function("mint(address,address,uint256,uint256)")
BURN_STABLE = Function("burn(address,uint256)")
MINT_STABLE = Function("mint(address,address,uint256,uint256)")
SET_E_MODE = Function("setUserEMode(uint8)")
BORROW = Function("borrow(address,uint256,uint256,uint16,address)")
NORMALIZED_DEBT = Function("getReserveNormalizedVariableDebt(address)")


class TakeoverError(Exception):
    """A contract refused a step of a takeover."""


async def read_positions(
    rpc_url: str, multicall: Address, markets: Sequence[WatchedMarket]
) -> list[AavePosition]:
    """Every account of the markets at the newest block.

    Raises `ReadingError` for what cannot be read, such as another revision of the protocol."""
    async with _reading(rpc_url, multicall) as (reader, head):
        for market in markets:
            await market.discover(reader, head)
        snapshots, _ = await reader.read([one.reading(head) for one in markets], at=head.hash)
    positions = []
    for market, snapshot in zip(markets, snapshots, strict=True):
        if isinstance(snapshot, Exception):
            raise snapshot
        positions += [snapshot.position(account) for account in market.accounts]
    return positions


async def read_charters(
    rpc_url: str, multicall: Address, asked: Sequence[tuple[Address, Address]]
) -> list[Charter]:
    """What each guardian says of each market's provider, at the newest block.

    Raises `NoGuardianError`."""
    async with _reading(rpc_url, multicall) as (reader, head):
        found, _ = await reader.read([read_charter(*each) for each in asked], at=head.hash)
    for each in found:
        if isinstance(each, Exception):
            raise each
    return list(found)


@asynccontextmanager
async def _reading(rpc_url: str, multicall: Address) -> AsyncIterator[tuple[Reader, Head]]:
    rpc = AsyncRpc(rpc_url, timeout_s=60)  # the fork fetches each slot from its origin, once
    try:
        head = await Heads(rpc, ws_url=None, poll_interval_s=1).current()
        yield Reader(rpc, multicall=multicall), head
    finally:
        await rpc.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """Moves positions on a fork whose blocks are mined on request, whose time stands still, and
    whose node signs for anybody."""

    rpc: Rpc

    def move(self, position: AavePosition, heir: Address) -> None:
        """Give `heir` the position, the wallet's balances of the market's tokens and the ether of
        its owner. Raises `TakeoverError`."""
        owner, pool = position.id.account, position.market.pool
        debts = [leg for leg in position.legs if leg.is_borrowed]
        for leg in debts:
            self._burn(position, leg)
        for leg in position.legs:
            if leg.is_collateral:
                supplied = leg.collateral(position.timestamp)
                self.send(owner, TRANSFER(leg.state.reserve.a_token, heir, supplied))
        if position.e_mode is not None:
            self.send(heir, SET_E_MODE(pool, position.e_mode.index))
        for leg in debts:
            self._mint(position, leg, heir)
        for reserve in position.market.reserves:
            token = reserve.token.address
            if balance := self._number(BALANCE_OF(token, owner)):
                self.send(owner, TRANSFER(token, heir, balance))
        ether = self.rpc.call("eth_getBalance", owner, "latest")
        self.rpc.call("anvil_setBalance", heir, ether)

    def _burn(self, position: AavePosition, leg: Leg) -> None:
        """tokenization/VariableDebtToken.sol and StableDebtToken.sol, burn: the pool's alone."""
        owner, pool, at = position.id.account, position.market.pool, position.timestamp
        reserve = leg.state.reserve
        if leg.variable_debt_scaled:
            index, owed = leg.state.normalized_debt(at), leg.variable_debt(at)
            self.send(pool, BURN_VARIABLE(reserve.variable_debt_token, owner, owed, index))
        if leg.stable_debt_principal:
            owed = leg.stable_debt(at)
            self.send(pool, BURN_STABLE(reserve.stable_debt_token, owner, owed))

    def _mint(self, position: AavePosition, leg: Leg, heir: Address) -> None:
        """As `_burn`, between a borrowing and a repayment of nearly nothing."""
        pool, reserve = position.market.pool, leg.state.reserve
        token = reserve.token.address
        self.send(heir, BORROW(pool, token, FIRST_UNITS, VARIABLE_RATE, 0, heir))
        if leg.variable_debt_scaled:
            index = self._number(NORMALIZED_DEBT(pool, token))
            owed = ray_mul_half_up(leg.variable_debt_scaled, index)
            minted = MINT_VARIABLE(reserve.variable_debt_token, heir, heir, owed, index)
            self.send(pool, minted)
        if leg.stable_debt_principal:
            owed = leg.stable_debt(position.timestamp)
            minted = MINT_STABLE(reserve.stable_debt_token, heir, heir, owed, leg.stable_rate)
            self.send(pool, minted)
        self.send(heir, APPROVE(token, pool, FIRST_UNITS))
        self.send(heir, Pool.REPAY(pool, token, FIRST_UNITS, VARIABLE_RATE, heir))

    def _number(self, call: Call) -> int:
        output = self.rpc.call("eth_call", _request(call), "latest")
        return split_words(bytes.fromhex(output[2:]))[0]

    def send(self, sender: Address, call: Call) -> None:
        """In a block of its own, free of charge: pools hold no ether."""
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", "0x0")
        free = {"gas": hex(GAS), "maxFeePerGas": "0x0", "maxPriorityFeePerGas": "0x0"}
        request = {"from": sender, **_request(call)}
        sent = self.rpc.call("eth_sendTransaction", {**request, **free})
        self.rpc.call("evm_mine")
        if self.rpc.call("eth_getTransactionReceipt", sent)["status"] != "0x1":
            raise TakeoverError(f"{call.target} refused a step: {self._reason(request)}")

    def _reason(self, request: dict[str, str]) -> str:
        try:
            self.rpc.call("eth_call", request, "latest")
        except RpcError as error:
            output = bytes.fromhex(str(error.data or "0x")[2:])
            return decode_error(output) if output else str(error)
        return "unknown"


def _request(call: Call) -> dict[str, str]:
    return {"to": call.target, "data": "0x" + call.data.hex()}
