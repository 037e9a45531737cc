"""Sets a scenario's stage on Perp v2: three twins who are long ether, and a keeper that adds margin."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from eth_utils.crypto import keccak

from keeper.devnet.accounts import DevAccount
from keeper.devnet.artifacts import Artifacts
from keeper.devnet.chain import SECOND_IN_BLOCK, LocalChain
from keeper.devnet.files import chain_section, protected_section, signer_section
from keeper.devnet.liquidator import Liquidator
from keeper.devnet.market import STRIKE_GAS, TRADE_FEES, Market
from keeper.devnet.path import Tick
from keeper.devnet.perp import MARKETS, SETTLEMENT, deploy_perp, deploying
from keeper.devnet.perp_market import TRADE_GAS, PerpMarket
from keeper.devnet.perp_story import PerpTeller, PerpWitness
from keeper.devnet.report import floors, targets
from keeper.devnet.scenario import Scenario
from keeper.devnet.stage import DIRECT, SETUP_S, grounded
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import Guarding, Policy, Twin
from keeper.devnet.uniswap import MAX_UINT256
from keeper.devnet.wards import place_perp_guardian
from keeper.model.units import WAD, Address

PERP_SETUP_S: Final = SETUP_S + 3_600
"""The venue's pools must have been watched for half an hour before anybody trades."""
SIZE_ETH: Final = 1_000
LEVERAGE: Final = 3
"""At the start: a fall of 29 % liquidates."""
RESERVE: Final = Fraction(1, 2)
"""In each wallet, as a share of the notional."""
LIQUIDATOR_USD: Final = 1_000_000_000
POSITION_CHANGED = (
    "0x"
    + keccak(
        text="PositionChanged(address,address,int256,int256,uint256,int256,int256,uint256)"
    ).hex()
)
"""interface/IClearingHouse.sol of @perp/curie-contract 2.8.4; the trader comes first."""

PERP_TWINS: Final = (
    Twin(name="unprotected", policy=None),
    Twin(name="fixed", policy=Policy(floor="1.30", target="2.00", most_usd=2_000_000)),
    Twin(
        name="forecast",
        policy=Policy(floor="3.00", target="6.00", trigger_probability="0.10", most_usd=2_000_000),
    ),
)
"""A perp's health is the quotient of two small shares of its notional: at 3 a
fall of 13 % is left, at 1.3 one of 2 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpStage:
    """Everything is in place and the first tick is next."""

    chain: LocalChain
    market: Market
    perp: PerpMarket
    path: tuple[Tick, ...]
    twins: Mapping[str, DevAccount]
    """By name, in the order of `PERP_TWINS`."""
    guardians: Mapping[str, Address]
    """Of the guarded twins, where they act for them."""
    keeper: DevAccount | None
    """Whose key the keeper then has; without guardians it has the twins' own."""

    @property
    def witness(self) -> PerpWitness:
        """Sees the twins."""
        accounts = tuple(twin.address for twin in self.twins.values())
        owners = {self.guardians[name]: self.twins[name].address for name in self.guardians}
        return PerpWitness(market=self.market, perp=self.perp, accounts=accounts, owners=owners)

    @property
    def teller(self) -> PerpTeller:
        """Tells their stories."""
        contracts = self.chain.contracts
        return PerpTeller(
            weth=contracts.token("WETH").address, dollar_unit=contracts.token(SETTLEMENT).unit
        )

    @property
    def targets(self) -> Mapping[str, Fraction]:
        """Of the guarded twins."""
        return targets(PERP_TWINS)

    @property
    def owed(self) -> str:
        """What the size of a position is called here."""
        return "notional"

    @property
    def floors(self) -> Mapping[str, Fraction]:
        """Of the guarded twins."""
        return floors(PERP_TWINS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpGround:
    """The scenario's beginning with the venue on its chain, before anybody has a position."""

    chain: LocalChain
    market: Market
    perp: PerpMarket
    path: tuple[Tick, ...]


@contextmanager
def perp_grounded(scenario: Scenario, toolchain: Toolchain) -> Iterator[PerpGround]:
    """Start the chain with the venue on it, and those who move its prices and liquidate."""
    with grounded(scenario, toolchain, PERP_SETUP_S) as ground:
        chain, market = ground.chain, ground.market
        contracts = deploy_perp(chain, Artifacts(node_modules=toolchain.node_modules))
        perp = PerpMarket(chain=chain, perp=contracts)
        perp.fund_arbitrageur()
        strikes = _liquidator(chain, perp, toolchain)
        market.others = (strikes.act, _Arbitrage(perp=perp).act)
        yield PerpGround(chain=chain, market=market, perp=perp, path=ground.path)


@contextmanager
def perp_staged(
    scenario: Scenario,
    toolchain: Toolchain,
    chosen: Guarding = DIRECT,
    *,
    leverage: int = LEVERAGE,
) -> Iterator[PerpStage]:
    """Start the chain with the venue on it, and open the twins' positions at the scenario's first
    price; stop on leaving. The reserve in each wallet is a share of the notional.

    Raises what `local_chain` and `deploy_perp` raise."""
    with perp_grounded(scenario, toolchain) as ground:
        share = RESERVE if chosen.reserve is None else chosen.reserve
        wallet = int(share * _notional(ground.chain))
        twins = _open_twins(ground.chain, ground.perp, wallet, leverage)
        keeper = ground.chain.account("keeper") if chosen.mode == "guardian" else None
        yield PerpStage(
            chain=ground.chain,
            market=ground.market,
            perp=ground.perp,
            path=ground.path,
            twins=twins,
            guardians={}
            if keeper is None
            else {
                twin.name: place_perp_guardian(
                    ground.perp,
                    owner=twins[twin.name].address,
                    keeper=keeper.address,
                    target=Fraction(twin.policy.target),
                    reserve=wallet,
                )
                for twin in PERP_TWINS
                if twin.policy is not None
            },
            keeper=keeper,
        )


def write_perp_files(stage: PerpStage, folder: Path, rpc_url: str, ws_url: str) -> Path:
    """The keeper's configuration and keystores; returns the configuration's path."""
    text = chain_section(stage.chain, rpc_url, ws_url) + stage.perp.toml()
    if stage.keeper is not None:
        text += signer_section(folder, "keeper", stage.keeper.private_key)
    for twin in PERP_TWINS:
        if twin.policy is None:
            continue
        account = stage.twins[twin.name]
        if stage.keeper is None:
            text += signer_section(folder, twin.name, account.private_key)
        named = twin.name if stage.keeper is None else "keeper"
        text += protected_section(twin.name, twin.policy, "perp", account.address, named)
        if twin.name in stage.guardians:
            text += f'guardian = "{stage.guardians[twin.name]}"\n'
    path = folder / "keeper.toml"
    path.write_text(text, encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strikes:
    """The liquidator's transaction of each block: the mark moves without any feed's round."""

    chain: LocalChain
    liquidator: Liquidator

    def act(self, _: Tick) -> None:
        sender = self.chain.account("liquidator").address
        for calldata in self.liquidator.strikes():
            target = self.liquidator.contract.address
            self.chain.send(sender, target, calldata, fees=SECOND_IN_BLOCK, gas=STRIKE_GAS)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arbitrage:
    """Brings the venue's pools to each tick's prices."""

    perp: PerpMarket

    def act(self, tick: Tick) -> None:
        chain, house = self.perp.chain, self.perp.perp.clearing_house.address
        arbitrageur = chain.account("perp_arbitrageur").address
        for symbol, asset in MARKETS.items():
            if asset not in tick.prices:
                continue
            data = self.perp.steering(symbol, tick.prices[asset])
            if data is not None:
                chain.send(arbitrageur, house, data, fees=TRADE_FEES, gas=TRADE_GAS)


def _liquidator(chain: LocalChain, perp: PerpMarket, toolchain: Toolchain) -> _Strikes:
    """With margin for what it takes over, and dollars for the debts of margin tokens."""
    contracts = perp.perp
    artifact = Artifacts(node_modules=toolchain.node_modules).own("PerpLiquidator")
    bases = [token.address for token in contracts.base_tokens.values()]
    dollars, vault = chain.contracts.tokens[SETTLEMENT], contracts.vault
    raw = LIQUIDATOR_USD * chain.contracts.token(SETTLEMENT).unit
    with deploying(chain) as deployer:
        house = contracts.clearing_house.address
        created = deployer.create(artifact, house, vault.address, bases)
        for account in (deployer.account, created.address):
            deployer.call(dollars, "mint", account, raw)
        deployer.call(dollars, "approve", vault.address, MAX_UINT256)
        deployer.call(vault, "depositFor", created.address, dollars.address, raw)
        deployer.call(created, "approve", dollars.address)
    return _Strikes(
        chain=chain,
        liquidator=Liquidator(
            rpc=chain.rpc,
            pool=contracts.clearing_house.address,
            contract=created,
            event=POSITION_CHANGED,
            account_topic=1,
        ),
    )


def _notional(chain: LocalChain) -> int:
    """Of a twin's position, in raw units of the settlement token."""
    _, answer, *_ = chain.read(chain.contracts.feeds["WETH"], "latestRoundData")
    return SIZE_ETH * int(answer) * chain.contracts.token(SETTLEMENT).unit // 10**8


def _open_twins(
    chain: LocalChain, perp: PerpMarket, reserve: int, leverage: int
) -> dict[str, DevAccount]:
    """With `reserve` raw units of the settlement token in each wallet. The arbitrageur brings the
    pool back after each, so that all pay the same price."""
    notional, price = _notional(chain), perp.pair("vETH").price(_root(chain, perp))
    twins = {twin.name: chain.account(twin.name) for twin in PERP_TWINS}
    for account in twins.values():
        perp.deposit(account.address, SETTLEMENT, notional // leverage)
        perp.trade(account.address, "vETH", base=SIZE_ETH * WAD)
        perp.steer("vETH", price)
        if reserve:
            chain.mint(SETTLEMENT, account.address, reserve)
    return twins


def _root(chain: LocalChain, perp: PerpMarket) -> int:
    return int(chain.read(perp.perp.pools["vETH"], "slot0")[0])
