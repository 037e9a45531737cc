"""A local chain with the real contracts, and what one does with it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from keeper.devnet.accounts import BALANCE_WEI, DevAccount, dev_account
from keeper.devnet.anvil import AnvilOptions, running_anvil
from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.deploying import read
from keeper.devnet.deployment import TOKEN_DECIMALS, Contracts, deploy
from keeper.devnet.feeds import Round, random_walk_rounds
from keeper.devnet.rpc import Rpc, RpcError
from keeper.devnet.toolchain import Toolchain
from keeper.model.units import Address

GWEI: Final = 10**9
BLOCK_GAS_LIMIT: Final = 30_000_000
BLOCK_SECONDS: Final = 12
VARIABLE_RATE: Final = 2
STABLE_RATE: Final = 1

_DEPLOYMENT_GAS_LIMIT: Final = 10**11
_DEPLOYMENT_SECONDS: Final = 60
_DEFAULT_ANSWERS: Final = {
    "WETH": 2_281_37000000,
    "WBTC": 42_265_19000000,
    "USDC": 99_984000,
    "DAI": 1_00_012000,
}
_DEFAULT_VOLATILITY: Final = {"WETH": 0.8, "WBTC": 0.8, "USDC": 0.02, "DAI": 0.02}


class TransactionFailedError(Exception):
    """A transaction was mined and reverted, or was not mined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """An EIP-1559 bid. Anvil orders a block by `max_wei` (not by the tip), then by arrival."""

    max_wei: int
    priority_wei: int


FIRST_IN_BLOCK: Final = Fees(max_wei=10**15, priority_wei=200 * GWEI)
"""Outbids everyone: for a feed's update."""
SECOND_IN_BLOCK: Final = Fees(max_wei=10**15 - 1, priority_wei=100 * GWEI)
"""Right behind the feed's update: for the liquidator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSpec:
    """What a chain is born with."""

    start: int = 1_704_067_200
    """Unix seconds of the first block after everything is deployed."""
    histories: Mapping[str, Sequence[Round]] = field(default_factory=dict)
    """Rounds per symbol that end at or before `start`; a seeded random walk where none are given.
    The last answer is the price that pools start from."""
    seed: int = 0
    """Accounts, addresses and random walks follow from it."""
    chain_id: int = 31337
    base_fee_wei: int = GWEI


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A state to come back to."""

    id: str
    accounts: Mapping[str, DevAccount]


@dataclass(slots=True, kw_only=True)
class LocalChain:
    """A running chain; for use by one thread at a time. Blocks are mined by `mine` only."""

    rpc_url: str
    ws_url: str
    spec: ChainSpec
    rpc: Rpc
    contracts: Contracts
    accounts: dict[str, DevAccount] = field(default_factory=dict)

    @property
    def chain_id(self) -> int:
        """EIP-155 chain id."""
        return self.spec.chain_id

    def account(self, name: str) -> DevAccount:
        """The account of that name, created with ether on first use; the same for a seed."""
        if name not in self.accounts:
            self.accounts[name] = dev_account(self.spec.seed, name)
            self.rpc.call("anvil_setBalance", self.accounts[name].address, hex(BALANCE_WEI))
        return self.accounts[name]

    # -- blocks ----------------------------------------------------------------------------------

    def mine(self, timestamp: int | None = None, base_fee_wei: int | None = None) -> int:
        """Mine one block and return its number.

        Its time is 12 s after its parent's and its base fee the chain's, unless given.
        """
        fee = self.spec.base_fee_wei if base_fee_wei is None else base_fee_wei
        self.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(fee))
        self.rpc.call("evm_mine", *([] if timestamp is None else [hex(timestamp)]))
        return int(self.rpc.call("eth_blockNumber"), 16)

    def timestamp(self) -> int:
        """The latest block's time."""
        return int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def snapshot(self) -> Snapshot:
        """Remember the present state; `revert` comes back to it, once."""
        return Snapshot(id=self.rpc.call("evm_snapshot"), accounts=dict(self.accounts))

    def revert(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot and drop what waits to be mined."""
        self.rpc.call("anvil_dropAllTransactions")
        self.rpc.call("evm_revert", snapshot.id)
        self.accounts = dict(snapshot.accounts)

    # -- calls and transactions ------------------------------------------------------------------

    def read(
        self, contract: Contract, function: str, *arguments: object, block: str = "latest"
    ) -> Any:
        """The decoded result of a view call; addresses come in lower case."""
        return read(self.rpc, contract, function, *arguments, block=block)

    def send(
        self,
        sender: Address,
        to: Address,
        data: bytes,
        *,
        fees: Fees | None = None,
        gas: int = 2_000_000,
        value_wei: int = 0,
    ) -> str:
        """Put a transaction of any account, key or no key, among those waiting; its hash.

        Without `fees` it bids twice the chain's base fee and a tip of 1 gwei.
        """
        fees = fees or Fees(max_wei=2 * self.spec.base_fee_wei + GWEI, priority_wei=GWEI)
        transaction = {
            "from": sender,
            "to": to,
            "data": "0x" + data.hex(),
            "gas": hex(gas),
            "value": hex(value_wei),
            "maxFeePerGas": hex(fees.max_wei),
            "maxPriorityFeePerGas": hex(fees.priority_wei),
        }
        return str(self.rpc.call("eth_sendTransaction", transaction))

    def transact(
        self, sender: Address, contract: Contract, function: str, *arguments: object
    ) -> dict[str, Any]:
        """Send a call, mine a block with it and return the receipt.

        Raises `TransactionFailedError` with the contract's reason if it reverted.
        """
        data = contract.encode(function, *arguments)
        sent = self.send(sender, contract.address, data, gas=10_000_000)
        before = hex(self.mine() - 1)
        receipt: dict[str, Any] | None = self.rpc.call("eth_getTransactionReceipt", sent)
        if receipt is None:
            raise TransactionFailedError(f"{function} was not mined: does its bid cover the fee?")
        if receipt["status"] != "0x1":
            raise TransactionFailedError(
                f"{function} reverted: {self._reason(sender, contract.address, data, before)}"
            )
        return receipt

    # -- money, positions and prices -------------------------------------------------------------

    def mint(self, symbol: str, account: Address, amount: int) -> None:
        """Give an account `amount` raw units of a token out of nothing."""
        self.transact(account, self.contracts.tokens[symbol], "mint", account, amount)

    def open_position(
        self,
        account: Address,
        *,
        collateral: Mapping[str, int],
        debt: Mapping[str, int],
        rate_mode: int = VARIABLE_RATE,
        e_mode: int = 0,
    ) -> None:
        """Supply and borrow raw units on Aave, in blocks of their own; collateral is minted."""
        pool = self.contracts.aave.pool
        for symbol, amount in collateral.items():
            token = self.contracts.tokens[symbol]
            self.mint(symbol, account, amount)
            self.transact(account, token, "approve", pool.address, amount)
            self.transact(account, pool, "supply", token.address, amount, account, 0)
        if e_mode:
            self.transact(account, pool, "setUserEMode", e_mode)
        for symbol, amount in debt.items():
            asset = self.contracts.tokens[symbol].address
            self.transact(account, pool, "borrow", asset, amount, rate_mode, 0, account)

    def send_price(self, symbol: str, answer: int, updated_at: int) -> str:
        """Put a round of a feed first among the transactions waiting; its hash."""
        feed = self.contracts.feeds[symbol]
        data = feed.encode("push", answer, updated_at)
        publisher = self.account("feeds").address
        return self.send(publisher, feed.address, data, fees=FIRST_IN_BLOCK)

    def set_price(self, symbol: str, answer: int) -> None:
        """Publish a round with 8 decimals, in a block of its own."""
        now = self.timestamp() + BLOCK_SECONDS
        self.send_price(symbol, answer, now)
        self.mine(now)

    def _reason(self, sender: Address, to: Address, data: bytes, block: str) -> str:
        request = {"from": sender, "to": to, "data": "0x" + data.hex()}
        try:
            self.rpc.call("eth_call", request, block)
        except RpcError as error:
            return str(error)
        return "a replay on the block before succeeds"


@contextmanager
def local_chain(spec: ChainSpec, toolchain: Toolchain) -> Iterator[LocalChain]:
    """Start a node, deploy everything and stop the node on leaving.

    Enter it from a thread that lives as long as the chain is needed. Raises `AnvilError` and
    `DeploymentError`.
    """
    options = AnvilOptions(
        program=toolchain.anvil,
        chain_id=spec.chain_id,
        timestamp=spec.start - _DEPLOYMENT_SECONDS,
        base_fee_wei=spec.base_fee_wei,
        gas_limit=_DEPLOYMENT_GAS_LIMIT,
    )
    with running_anvil(options) as anvil, Rpc(anvil.rpc_url) as rpc:
        rpc.call("anvil_setBlockTimestampInterval", 1)
        deployer = dev_account(spec.seed, "deployer")
        rpc.call("anvil_setBalance", deployer.address, hex(BALANCE_WEI))
        artifacts = Artifacts(node_modules=toolchain.node_modules)
        contracts = deploy(rpc, artifacts, deployer.address, _histories(spec))
        rpc.call("evm_setBlockGasLimit", hex(BLOCK_GAS_LIMIT))
        rpc.call("anvil_setBlockTimestampInterval", BLOCK_SECONDS)
        chain = LocalChain(
            rpc_url=anvil.rpc_url,
            ws_url=anvil.ws_url,
            spec=spec,
            rpc=rpc,
            contracts=contracts,
            accounts={deployer.name: deployer},
        )
        chain.mine(spec.start)
        yield chain


def _histories(spec: ChainSpec) -> dict[str, list[Round]]:
    return {
        symbol: list(
            spec.histories.get(symbol)
            or random_walk_rounds(
                symbol=symbol,
                seed=spec.seed,
                end_answer=_DEFAULT_ANSWERS[symbol],
                end_time=spec.start,
                volatility_per_year=_DEFAULT_VOLATILITY[symbol],
            )
        )
        for symbol in TOKEN_DECIMALS
    }
