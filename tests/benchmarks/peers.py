"""The peers: web3.py as its documentation shows it, with the contracts' own interfaces."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.abi import function_signature_to_4byte_selector
from web3 import AsyncHTTPProvider, AsyncWeb3, HTTPProvider, Web3

from keeper.chain.reader import CALLS_PER_CHUNK, CHUNK_GAS
from keeper.protocols.aave_v3 import AaveMarket
from keeper.resources import resource
from tests.benchmarks.town import Town

TIMEOUT_S = 120
AGGREGATE3 = function_signature_to_4byte_selector("aggregate3((address,bool,bytes)[])")
SELECTORS = {
    signature.partition("(")[0]: function_signature_to_4byte_selector(signature)
    for signature in (
        "getUserConfiguration(address)",
        "getUserEMode(address)",
        "scaledBalanceOf(address)",
        "principalBalanceOf(address)",
        "getUserStableRate(address)",
        "getUserLastUpdated(address)",
        "balanceOf(address)",
        "allowance(address,address)",
    )
}


def interface(name: str) -> Any:
    """A packaged ABI."""
    return json.loads(resource("contracts_abi", f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Peer:
    """What a script of this kind sets up once."""

    town: Town
    market: AaveMarket
    multicall: str

    @cached_property
    def w3(self) -> Web3:
        """With its defaults, save for time enough to answer."""
        provider = HTTPProvider(self.town.chain.rpc_url, request_kwargs={"timeout": TIMEOUT_S})
        return Web3(provider)

    @cached_property
    def async_w3(self) -> AsyncWeb3[AsyncHTTPProvider]:
        """The same, asynchronous."""
        return AsyncWeb3(
            AsyncHTTPProvider(self.town.chain.rpc_url, request_kwargs={"timeout": TIMEOUT_S})
        )

    @cached_property
    def contract(self) -> Callable[..., Any]:
        """Makes contract objects; untyped, for web3 knows an address type of its own."""
        return self.w3.eth.contract

    @cached_property
    def pool(self) -> Any:
        """Aave's pool."""
        return self.contract(self.market.pool, abi=interface("aave_v3_pool"))

    @cached_property
    def async_pool(self) -> Any:
        """The same, asynchronous."""
        make: Callable[..., Any] = self.async_w3.eth.contract
        return make(self.market.pool, abi=interface("aave_v3_pool"))

    @cached_property
    def multicall3(self) -> Any:
        """Multicall3."""
        return self.contract(self.multicall, abi=interface("multicall3"))

    @cached_property
    def tokens(self) -> dict[str, tuple[Any, Any, Any, Any]]:
        """By symbol: the token, its aToken, its variable and its stable debt token."""
        return {
            reserve.token.symbol: (
                self.contract(reserve.token.address, abi=interface("erc20")),
                self.contract(reserve.a_token, abi=interface("aave_v3_a_token")),
                self.contract(
                    reserve.variable_debt_token, abi=interface("aave_v3_variable_debt_token")
                ),
                self.contract(
                    reserve.stable_debt_token, abi=interface("aave_v3_stable_debt_token")
                ),
            )
            for reserve in self.market.reserves
        }

    def questions(self) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
        """Contract, function and arguments of every call, account by account."""
        order = [reserve.token.symbol for reserve in self.market.reserves]
        for home in self.town.homes:
            account = home.account.address
            yield self.pool, "getUserConfiguration", (account,)
            yield self.pool, "getUserEMode", (account,)
            for symbol in sorted(home.symbols, key=order.index):
                token, a_token, variable_debt, stable_debt = self.tokens[symbol]
                if symbol in home.collaterals:
                    yield a_token, "scaledBalanceOf", (account,)
                if symbol in home.debts:
                    yield variable_debt, "scaledBalanceOf", (account,)
                    yield stable_debt, "principalBalanceOf", (account,)
                    yield stable_debt, "getUserStableRate", (account,)
                    yield stable_debt, "getUserLastUpdated", (account,)
                yield token, "balanceOf", (account,)
                yield token, "allowance", (account, self.market.pool)

    def read_in_batch(self) -> list[int]:
        """`w3.batch_requests()`: one POST with one eth_call for each call."""
        with self.w3.batch_requests() as batch:
            for contract, function, arguments in self.questions():
                batch.add(contract.functions[function](*arguments))
            return [_number(answer) for answer in batch.execute()]

    def read_by_multicall(self) -> list[int]:
        """Multicall3's contract object, the calls in it encoded and decoded by eth_abi; in as many
        chunks as keeper uses, for the node's limit of gas."""
        calls = self._encoded()
        numbers: list[int] = []
        for start in range(0, len(calls), CALLS_PER_CHUNK):
            chunk = calls[start : start + CALLS_PER_CHUNK]
            answers = self.multicall3.functions.aggregate3(chunk).call({"gas": CHUNK_GAS})
            numbers += [decode(["uint256"], output)[0] for _, output in answers]
        return numbers

    def read_by_eth_abi(self) -> list[int]:
        """The same without contract objects: eth_abi alone around `w3.eth.call`."""
        calls = self._encoded()
        numbers: list[int] = []
        for start in range(0, len(calls), CALLS_PER_CHUNK):
            chunk = calls[start : start + CALLS_PER_CHUNK]
            payload = AGGREGATE3 + encode(["(address,bool,bytes)[]"], [chunk])
            request: Any = {"to": self.multicall, "data": payload, "gas": CHUNK_GAS}
            (answers,) = decode(["(bool,bytes)[]"], self.w3.eth.call(request))
            numbers += [decode(["uint256"], output)[0] for _, output in answers]
        return numbers

    def _encoded(self) -> list[tuple[str, bool, bytes]]:
        return [
            (contract.address, True, SELECTORS[function] + encode(["address"] * len(args), args))
            for contract, function, args in self.questions()
        ]


def _number(answer: Any) -> int:
    """getUserConfiguration returns a struct of one word."""
    return int(answer[0] if isinstance(answer, tuple | list) else answer)
