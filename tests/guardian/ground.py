"""An owner with a position on the local chain, a guardian with a mandate for it, and a keeper."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Self

from eth_abi.abi import decode, encode
from eth_utils.abi import event_abi_to_log_topic
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.devnet.artifacts import Artifact, Contract, Interface
from keeper.devnet.chain import LocalChain
from keeper.devnet.pools import Pair
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256, PoolKey
from keeper.model.units import WAD, Address
from tests.guardian.build import deployed_here, selector

DEPLOYMENT_PROXY: Final = Address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
DOLLAR: Final = 10**8
DAY_S: Final = 24 * 3600
USDC: Final = 10**6
BTC: Final = 10**8
WETH_USDC: Final[PoolKey] = ("WETH", "USDC", 500)
CONTENT: Final = deployed_here()
INTERFACE: Final = Interface(tuple(CONTENT["abi"]))
ERRORS: Final = {selector(entry): entry for entry in CONTENT["abi"] if entry["type"] == "error"}

EVENTS: Final = {
    event_abi_to_log_topic(entry): entry for entry in CONTENT["abi"] if entry["type"] == "event"
}
ACCOUNT: Final = ("collateral", "debt", "available", "threshold", "ltv", "health")


class Refusal(NamedTuple):
    """A named error and its two figures; a foreign revert has its text for a name."""

    name: str
    figures: tuple[Any, ...]


def refused_with(error: RpcError) -> Refusal:
    """What the revert of a call says."""
    raw = bytes.fromhex(str(error.data or "0x")[2:])
    if (entry := ERRORS.get(raw[:4])) is None:
        return Refusal(str(error), ())
    types = [field["type"] for field in entry["inputs"]]
    return Refusal(entry["name"], decode(types, raw[4:]))


def artifact() -> Artifact:
    """The guardian under test."""
    return Artifact(interface=INTERFACE, bytecode=CONTENT["bytecode"][2:], links={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """`guardian_core.vy`'s struct, in its order."""

    keeper: Address
    freezer: Address = ZERO_ADDRESS
    reserve: Address = ZERO_ADDRESS
    max_health_to_act: int = 125 * WAD // 100
    target: int = 140 * WAD // 100
    emergency_health: int = 0
    emergency_outlives_expiry: bool = False
    slippage_calm_bps: int = 50
    slippage_urgent_bps: int = 200
    limit_max: int = 100_000 * DOLLAR
    limit_per_second: int = DOLLAR
    min_action: int = 50 * DOLLAR
    cooldown_s: int = 0
    expiry: int = 2**63
    max_hops: int = 2
    collaterals: tuple[Address, ...] = ()
    pools: tuple[Address, ...] = ()
    emergency_collateral: Address = ZERO_ADDRESS
    emergency_debt: Address = ZERO_ADDRESS
    emergency_route: tuple[Address, ...] = ()

    def words(self) -> tuple[Any, ...]:
        """As the ABI wants it: arrays filled with zeros to their lengths."""
        lengths = {"collaterals": 4, "pools": 8, "emergency_route": 3}
        return tuple(
            (*value, *[ZERO_ADDRESS] * (lengths[name] - len(value))) if name in lengths else value
            for name in self.__slots__
            for value in [getattr(self, name)]
        )


@dataclass(slots=True, kw_only=True)
class Ground:
    """What the tests act with. Amounts are raw units."""

    chain: LocalChain
    owner: Address
    keeper: Address
    guardian: Contract
    mandate: Mandate
    hash: bytes = b""

    # -- names ---------------------------------------------------------------------------------

    @property
    def market(self) -> Address:
        return self.chain.contracts.aave.pool_addresses_provider.address

    def token(self, symbol: str) -> Contract:
        return self.chain.contracts.tokens[symbol]

    def a_token(self, symbol: str) -> Contract:
        return Contract(address=self._reserve(symbol)[8], interface=self.token("USDC").interface)

    def debt_token(self, symbol: str) -> Contract:
        return Contract(address=self._reserve(symbol)[10], interface=self.token("USDC").interface)

    def pool(self, *key: Any) -> Contract:
        return self.chain.contracts.uniswap.pools[key]

    # -- reading -------------------------------------------------------------------------------

    def account(self, block: str = "latest") -> dict[str, int]:
        pool = self.chain.contracts.aave.pool
        found = self.chain.read(pool, "getUserAccountData", self.owner, block=block)
        return dict(zip(ACCOUNT, found, strict=True))

    def price(self, symbol: str) -> int:
        """The oracle's, in the market's base currency."""
        oracle, token = self.chain.contracts.aave.oracle, self.token(symbol)
        return int(self.chain.read(oracle, "getAssetPrice", token.address))

    @property
    def health(self) -> int:
        return self.account()["health"]

    def balance(self, token: Contract, account: Address) -> int:
        return int(self.chain.read(token, "balanceOf", account))

    def status(self) -> tuple[int, bool, bytes, int, int]:
        found: tuple[int, bool, bytes, int, int] = self.chain.read(
            self.guardian, "status", self.market
        )
        return found

    @property
    def available(self) -> int:
        return self.status()[3]

    # -- the owner -----------------------------------------------------------------------------

    def set_mandate(self, **changes: Any) -> Self:
        """Change the mandate by these fields; the keeper's calls carry its hash from now on."""
        self.mandate = replace(self.mandate, **changes)
        self.send(self.owner, "set_mandate", self.market, self.mandate.words())
        self.hash = self.status()[2]
        return self

    def allow(self, token: Contract, amount: int, holder: Address | None = None) -> None:
        """An ERC-20 allowance for the guardian."""
        self.chain.transact(holder or self.owner, token, "approve", self.guardian.address, amount)

    def fund(self, symbol: str, amount: int) -> None:
        """Make the owner its own reserve, with this much and an allowance of it."""
        self.chain.mint(symbol, self.owner, amount)
        self.allow(self.token(symbol), amount)
        self.set_mandate(reserve=self.owner)

    def configure(self, function: str, *arguments: object) -> None:
        """A change of the market's parameters by its administrator."""
        configurator = self.chain.contracts.aave.pool_configurator
        admin = self.chain.account("deployer").address
        self.chain.transact(admin, configurator, function, *arguments)

    def changed(self, **changes: Any) -> Mandate:
        """The mandate with these fields, not set."""
        return replace(self.mandate, **changes)

    def elsewhere(self, owner: Address) -> Contract:
        """Another owner's guardian."""
        return deploy(self.chain, owner)

    # -- calls ---------------------------------------------------------------------------------

    def send(self, sender: Address, function: str, *arguments: object) -> dict[str, Any]:
        """A call to the guardian that must succeed; its receipt."""
        return self.chain.transact(sender, self.guardian, function, *arguments)

    def simulated(self, sender: Address, function: str, *arguments: object) -> Any:
        """What a call to the guardian would return now."""
        output = self.chain.rpc.call(
            "eth_call", self._request(sender, function, *arguments), "latest"
        )
        return INTERFACE.decode(function, len(arguments), bytes.fromhex(output[2:]))

    def refusal(self, sender: Address, function: str, *arguments: object) -> Refusal:
        """The error of a call to the guardian that must fail."""
        return self.refusal_of(self._request(sender, function, *arguments))

    def refusal_of(self, request: Mapping[str, str]) -> Refusal:
        """The error of any call that must fail."""
        try:
            self.chain.rpc.call("eth_call", request, "latest")
        except RpcError as error:
            return refused_with(error)
        raise AssertionError(f"{request} was not refused")

    def events(self, receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What the guardian logged: each event's fields, its name as `event`."""
        logs = (log for log in receipt["logs"] if log["address"] == self.guardian.address.lower())
        return [_event(log) for log in logs]

    def add_collateral(self, symbol: str, most: int = MAX_UINT256) -> tuple[Any, ...]:
        return ("add_collateral", self.market, self.hash, self.token(symbol).address, most)

    def repay(self, symbol: str, most: int = MAX_UINT256) -> tuple[Any, ...]:
        return ("repay", self.market, self.hash, self.token(symbol).address, most)

    def deleverage(
        self,
        sold: str = "WETH",
        debt: str = "USDC",
        *keys: PoolKey,
        most: int = MAX_UINT256,
        most_taken: int = MAX_UINT256,
        flash_loan: bool = False,
    ) -> tuple[Any, ...]:
        route = [self.pool(*key).address for key in keys or (WETH_USDC,)]
        tokens = (self.token(sold).address, self.token(debt).address)
        return (
            *("deleverage", self.market, self.hash, *tokens),
            *(most, most_taken, route, flash_loan),
        )

    # -- the market ----------------------------------------------------------------------------

    def drop(self, symbol: str, answer: int, *keys: PoolKey) -> None:
        """A new oracle price in USD with 8 decimals, and these pools at it."""
        self.chain.set_price(symbol, answer)
        for key in keys:
            dollars = 0.99984 if key[1] == "USDC" else 1.0
            self.move_pool(key, answer / DOLLAR / dollars)

    def move_pool(self, key: PoolKey, price: float) -> None:
        """Trade until the pool's price of one base token in quote tokens is this."""
        contracts, base, quote = self.chain.contracts, key[0], key[1]
        trader, router = self.chain.account("mover").address, contracts.uniswap.router
        for symbol in (base, quote):
            self.chain.mint(symbol, trader, 10**9 * contracts.token(symbol).unit)
            self.chain.transact(trader, self.token(symbol), "approve", router.address, MAX_UINT256)
        pair = Pair(
            pool=self.pool(*key),
            base=contracts.token(base),
            quote=contracts.token(quote),
            fee=key[2],
        )
        root = self.chain.read(pair.pool, "slot0")[0]
        self.chain.transact(trader, router, "exactInputSingle", pair.trade(trader, root, price))

    def _request(self, sender: Address, function: str, *arguments: object) -> dict[str, str]:
        data = "0x" + self.guardian.encode(function, *arguments).hex()
        return {"from": sender, "to": self.guardian.address, "data": data}

    def _reserve(self, symbol: str) -> Any:
        pool = self.chain.contracts.aave.pool
        return self.chain.read(pool, "getReserveData", self.token(symbol).address)


def _event(log: Mapping[str, Any]) -> dict[str, Any]:
    entry = EVENTS[bytes.fromhex(log["topics"][0][2:])]
    indexed = [part for part in entry["inputs"] if part["indexed"]]
    plain = [part for part in entry["inputs"] if not part["indexed"]]
    topics = b"".join(bytes.fromhex(topic[2:]) for topic in log["topics"][1:])
    values = zip(
        [*indexed, *plain],
        [
            *decode([part["type"] for part in indexed], topics),
            *decode([part["type"] for part in plain], bytes.fromhex(log["data"][2:])),
        ],
        strict=True,
    )
    return {"event": entry["name"]} | {part["name"]: value for part, value in values}


def frames(
    chain: LocalChain, guardian: Contract, sender: Address, call: tuple[Any, ...], *selectors: str
) -> list[dict[str, Any]]:
    """The traces of those calls that the guardian itself would make with these selectors."""
    data = "0x" + guardian.encode(*call).hex()
    request = {"from": sender, "to": guardian.address, "data": data}
    top = chain.rpc.call("debug_traceCall", request, "latest", {"tracer": "callTracer"})
    return [frame for frame in top["calls"] if frame["input"].startswith(selectors)]


def deploy(chain: LocalChain, owner: Address, guardian: Artifact | None = None) -> Contract:
    """The owner's guardian, by the deployment proxy; of the artifact under test unless another is
    named."""
    named = guardian or artifact()
    code = named.creation_code({}, owner)
    digest = keccak(b"\xff" + bytes.fromhex(DEPLOYMENT_PROXY[2:]) + bytes(32) + keccak(code))
    address = Address(to_checksum_address(digest[12:]))
    sender = chain.account("anyone").address
    sent = chain.send(sender, DEPLOYMENT_PROXY, bytes(32) + code, gas=10_000_000)
    chain.mine()
    assert chain.rpc.call("eth_getTransactionReceipt", sent)["status"] == "0x1"
    return Contract(address=address, interface=named.interface)


def ground(
    chain: LocalChain,
    collateral: Mapping[str, int],
    debt: Mapping[str, int],
    *,
    e_mode: int = 0,
    **terms: Any,
) -> Ground:
    """An account with this position, whose guardian may sell all of it on every pool."""
    owner, keeper = chain.account("owner").address, chain.account("keeper").address
    chain.open_position(owner, collateral=collateral, debt=debt, e_mode=e_mode)
    made = Ground(
        chain=chain,
        owner=owner,
        keeper=keeper,
        guardian=deploy(chain, owner),
        mandate=Mandate(
            keeper=keeper,
            collaterals=tuple(chain.contracts.tokens[symbol].address for symbol in collateral),
            pools=tuple(pool.address for pool in chain.contracts.uniswap.pools.values()),
        ),
    )
    for symbol in collateral:
        made.allow(made.a_token(symbol), MAX_UINT256)
    return made.set_mandate(**terms)


def mandate_hash(made: Ground, nonce: int) -> bytes:
    """The hash of a keeper's call, worked out from the documented formula."""
    (entry,) = (e for e in CONTENT["abi"] if e.get("name") == "set_mandate")
    fields = ",".join(part["type"] for part in entry["inputs"][1]["components"])
    types = ["uint256", "address", "address", "address", f"({fields})", "uint256"]
    values = (
        *(made.chain.chain_id, made.guardian.address, made.owner, made.market),
        *(made.mandate.words(), nonce),
    )
    return keccak(encode(types, values))
