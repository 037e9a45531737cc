"""An owner with a perp position on the local chain, a guardian with a mandate for it, and a keeper."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from eth_abi.abi import decode
from eth_utils.abi import event_abi_to_log_topic

from keeper.devnet.artifacts import Artifact, Contract, Interface
from keeper.devnet.chain import LocalChain
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.rpc import RpcError
from keeper.devnet.uniswap import MAX_UINT256
from keeper.model.units import WAD, Address
from tests.guardian.build import PERP_ARTIFACT, deployed_here, selector
from tests.guardian.ground import ACCOUNT, DOLLAR, USDC, Mandate, Refusal, deploy

CONTENT: Final = deployed_here(PERP_ARTIFACT)
INTERFACE: Final = Interface(tuple(CONTENT["abi"]))
ERRORS: Final = {selector(entry): entry for entry in CONTENT["abi"] if entry["type"] == "error"}
EVENTS: Final = {
    event_abi_to_log_topic(entry): entry for entry in CONTENT["abi"] if entry["type"] == "event"
}
OPEN_POSITION: Final = 1
"""DelegateApproval's one action: whoever has it may open, grow, turn and reduce."""
NEVER: Final = 2**48 - 1
"""The latest that a consent may end."""
AVERAGED_S: Final = 1_800
"""What the mark price looks back."""


@dataclass(slots=True, kw_only=True)
class PerpGround:
    """What the tests act with."""

    perp: PerpMarket
    owner: Address
    keeper: Address
    guardian: Contract
    mandate: Mandate
    hash: bytes = b""

    @property
    def chain(self) -> LocalChain:
        return self.perp.chain

    @property
    def market(self) -> Address:
        return self.perp.perp.clearing_house.address

    @property
    def usdc(self) -> Contract:
        return self.chain.contracts.tokens["USDC"]

    def base_token(self, symbol: str = "vETH") -> Address:
        return self.perp.perp.base_tokens[symbol].address

    # -- reading -------------------------------------------------------------------------------

    @property
    def value(self) -> int:
        return int(self.chain.read(self.perp.perp.clearing_house, "getAccountValue", self.owner))

    @property
    def required(self) -> int:
        balances = self.perp.perp.account_balance
        return int(self.chain.read(balances, "getMarginRequirementForLiquidation", self.owner))

    @property
    def health(self) -> int:
        return self.value * WAD // self.required if self.required else MAX_UINT256

    def size(self, symbol: str = "vETH") -> int:
        balances = self.perp.perp.account_balance
        token = self.base_token(symbol)
        return int(self.chain.read(balances, "getTakerPositionSize", self.owner, token))

    def settlement_debt(self) -> int:
        """In the settlement token's units."""
        vault = self.perp.perp.vault
        return max(-int(self.chain.read(vault, "getSettlementTokenValue", self.owner)), 0)

    def index(self, symbol: str = "vETH") -> int:
        """With 18 decimals."""
        return int(self.chain.read(self.perp.perp.base_tokens[symbol], "getIndexPrice", 0))

    def balance(self, account: Address) -> int:
        return int(self.chain.read(self.usdc, "balanceOf", account))

    @property
    def available(self) -> int:
        return int(self.chain.read(self.guardian, "status", self.market)[3])

    # -- the owner -----------------------------------------------------------------------------

    def set_mandate(self, **changes: Any) -> Self:
        """Change the mandate by these fields; the keeper's calls carry its hash from now on."""
        self.mandate = replace(self.mandate, **changes)
        self.send(self.owner, "set_mandate", self.market, self.mandate.words())
        self.hash = self.chain.read(self.guardian, "status", self.market)[2]
        return self

    def changed(self, **changes: Any) -> Mandate:
        """The mandate with these fields, not set."""
        return replace(self.mandate, **changes)

    def fund(self, amount: int) -> None:
        """Make the owner its own reserve, with this much and an allowance of it."""
        self.chain.mint("USDC", self.owner, amount)
        self.chain.transact(self.owner, self.usdc, "approve", self.guardian.address, amount)
        self.set_mandate(reserve=self.owner)

    def delegate(self, change: Literal["approve", "revoke"] = "approve") -> None:
        """Let the guardian trade for the owner, or not any more."""
        approval = self.perp.perp.delegate_approval
        self.chain.transact(self.owner, approval, change, self.guardian.address, OPEN_POSITION)

    # -- calls ---------------------------------------------------------------------------------

    def add(self, most: int = MAX_UINT256) -> tuple[Any, ...]:
        return ("add_margin", self.market, self.hash, most)

    def bring(self, most: int = MAX_UINT256) -> tuple[Any, ...]:
        return ("move", self.market, self.hash, most)

    def reduce(self, symbol: str = "vETH", most: int = MAX_UINT256) -> tuple[Any, ...]:
        return ("reduce_position", self.market, self.hash, self.base_token(symbol), most)

    def send(self, sender: Address, function: str, *arguments: object) -> dict[str, Any]:
        """A call to the guardian that must succeed; its receipt."""
        return self.chain.transact(sender, self.guardian, function, *arguments)

    def refusal(self, sender: Address, function: str, *arguments: object) -> Refusal:
        """The error of a call to the guardian that must fail."""
        found = self.refused(sender, function, *arguments)
        assert found is not None, f"{function} was not refused"
        return found

    def refused(self, sender: Address, function: str, *arguments: object) -> Refusal | None:
        """The error of a call to the guardian, None if it would succeed."""
        data = "0x" + self.guardian.encode(function, *arguments).hex()
        request = {"from": sender, "to": self.guardian.address, "data": data}
        try:
            self.chain.rpc.call("eth_call", request, "latest")
        except RpcError as error:
            raw = bytes.fromhex(str(error.data or "0x")[2:])
            if (entry := ERRORS.get(raw[:4])) is None:
                return Refusal(str(error), ())
            types = [field["type"] for field in entry["inputs"]]
            return Refusal(entry["name"], decode(types, raw[4:]))
        return None

    def events(self, receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The plain fields of what the guardian logged, its name as `event`."""
        found = []
        for log in receipt["logs"]:
            if log["address"] == self.guardian.address.lower():
                entry = EVENTS[bytes.fromhex(log["topics"][0][2:])]
                plain = [part for part in entry["inputs"] if not part["indexed"]]
                values = decode([part["type"] for part in plain], bytes.fromhex(log["data"][2:]))
                names = [part["name"] for part in plain]
                found.append({"event": entry["name"]} | dict(zip(names, values, strict=True)))
        return found

    # -- the market ----------------------------------------------------------------------------

    def move_index(self, price: float, symbol: str = "vETH") -> None:
        """A new price of the feed behind a market."""
        self.chain.set_price({"vETH": "WETH", "vBTC": "WBTC"}[symbol], round(price * DOLLAR))

    def move_pool(self, price: float, symbol: str = "vETH") -> None:
        """Trade a market's pool to a price, within what the venue lets anyone move at once."""
        data = self.perp.steering(symbol, price)
        if data is not None:
            mover = self.chain.account("perp_arbitrageur").address
            self.chain.send(mover, self.market, data)
            self.chain.mine()

    def move(self, price: float, symbol: str = "vETH") -> None:
        """Feed, pool and the averages of both."""
        self.move_index(price, symbol)
        self.move_pool(price, symbol)
        self.chain.mine(self.chain.timestamp() + AVERAGED_S)


class Lending:
    """The owner's other position: dollars lent, ether borrowed, in the same ether's oracle."""

    def __init__(self, made: PerpGround, supplied: int, borrowed: int) -> None:
        self.made = made
        self.pool = made.chain.contracts.aave.pool
        self.market = made.chain.contracts.aave.pool_addresses_provider.address
        debt = {"WETH": borrowed} if borrowed else {}
        made.chain.open_position(made.owner, collateral={"USDC": supplied}, debt=debt)
        reserve: Any = made.chain.read(self.pool, "getReserveData", made.usdc.address)
        self.a_token = Contract(address=reserve[8], interface=made.usdc.interface)
        self.approve(MAX_UINT256)

    def approve(self, amount: int) -> None:
        made = self.made
        made.chain.transact(made.owner, self.a_token, "approve", made.guardian.address, amount)

    def allow(
        self,
        floor: int,
        limit: int = 10_000 * DOLLAR,
        per_second: int = 0,
        expiry: int = NEVER,
    ) -> None:
        made = self.made
        terms = (made.market, self.market, floor, limit, per_second, expiry)
        made.send(made.owner, "allow_move", *terms)

    @property
    def account(self) -> dict[str, int]:
        found: Any = self.made.chain.read(self.pool, "getUserAccountData", self.made.owner)
        return dict(zip(ACCOUNT, found, strict=True))

    @property
    def health(self) -> int:
        return self.account["health"]

    @property
    def lent(self) -> int:
        return int(self.made.chain.read(self.a_token, "balanceOf", self.made.owner))

    def source(self) -> dict[str, Any]:
        """What the guardian says may be moved."""
        made = self.made
        (market, floor), (limit, slope, expiry), available, amount = made.chain.read(
            made.guardian, "source_of", made.market
        )
        return {
            "market": market,
            "floor": floor,
            "limit": (limit, slope, expiry),
            "available": available,
            "amount": amount,
        }


GUARDIAN: Final = Artifact(interface=INTERFACE, bytecode=CONTENT["bytecode"][2:], links={})
"""The one under test."""


def perp_ground(perp: PerpMarket, *, quote: int = 9_890 * WAD, **terms: Any) -> PerpGround:
    """An account with 1,000 USDC of margin behind a position of `quote` in ether (below 0: short),
    whose guardian may make it smaller."""
    chain = perp.chain
    owner, keeper = chain.account("owner").address, chain.account("keeper").address
    perp.deposit(owner, "USDC", 1_000 * USDC)
    perp.trade(owner, "vETH", quote=quote)
    made = PerpGround(
        perp=perp,
        owner=owner,
        keeper=keeper,
        guardian=deploy(chain, owner, GUARDIAN),
        mandate=Mandate(
            keeper=keeper,
            max_health_to_act=130 * WAD // 100,
            target=150 * WAD // 100,
            slippage_calm_bps=50,
            slippage_urgent_bps=120,
            min_action=10 * DOLLAR,
            collaterals=(perp.perp.base_tokens["vETH"].address,),
        ),
    )
    made.delegate()
    return made.set_mandate(**terms)
