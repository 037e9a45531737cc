"""Sets a scenario's stage: the chain at its start, the twins with their positions, the market."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

from keeper.devnet.aave import RESERVES
from keeper.devnet.accounts import DevAccount
from keeper.devnet.chain import ChainSpec, LocalChain, local_chain
from keeper.devnet.feeds import DECIMALS, random_walk_rounds
from keeper.devnet.liquidator import Liquidator
from keeper.devnet.market import DOLLARS, Market
from keeper.devnet.path import Tick, past_rounds, ticks
from keeper.devnet.report import floors, targets
from keeper.devnet.scenario import Scenario
from keeper.devnet.story import Teller
from keeper.devnet.toolchain import Toolchain
from keeper.devnet.twins import (
    COLLATERAL_WETH,
    HEALTH_AT_START,
    TWINS,
    WALLET_USDC,
    WALLET_WETH,
    Guarding,
)
from keeper.devnet.wards import place_guardian
from keeper.devnet.witness import Witness
from keeper.mandate.owner import Intended
from keeper.model.units import BPS, WAD, Address

SETUP_S = 1800
"""Chain time between the deployment and the scenario's start, for opening positions."""
DOLLAR = 10**DECIMALS
DOLLAR_COIN_VOLATILITY = 0.02
DIRECT = Guarding()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything is in place and the first tick is next."""

    chain: LocalChain
    market: Market
    path: tuple[Tick, ...]
    twins: Mapping[str, DevAccount]
    """By name, in the order of `TWINS`."""
    mandates: Mapping[str, Intended]
    """Of the guarded twins, where guardians act for them."""
    keeper: DevAccount | None
    """Whose key the keeper then has; without guardians it has the twins' own."""

    @property
    def guardians(self) -> dict[str, Address]:
        """Of the same twins."""
        return {name: mandate.guardian for name, mandate in self.mandates.items()}

    @property
    def guarded(self) -> dict[str, DevAccount]:
        """The twins that the keeper watches."""
        return {twin.name: self.twins[twin.name] for twin in TWINS if twin.policy is not None}

    @property
    def witness(self) -> Witness:
        """Sees the twins."""
        accounts = tuple(twin.address for twin in self.twins.values())
        return Witness(market=self.market, accounts=accounts)

    @property
    def teller(self) -> Teller:
        """Tells their stories."""
        contracts = self.chain.contracts
        tokens = [contracts.token(symbol) for symbol in contracts.tokens]
        return Teller(
            tokens={token.address: token for token in tokens}, weth=contracts.token("WETH").address
        )

    @property
    def targets(self) -> Mapping[str, Fraction]:
        """Of the guarded twins."""
        return targets(TWINS)

    @property
    def owed(self) -> str:
        """What the size of a position is called here."""
        return "debt"

    @property
    def floors(self) -> Mapping[str, Fraction]:
        """Of the guarded twins."""
        return floors(TWINS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A chain at the scenario's beginning, before anybody has a position."""

    chain: LocalChain
    market: Market
    path: tuple[Tick, ...]


@contextmanager
def grounded(scenario: Scenario, toolchain: Toolchain, setup_s: int = SETUP_S) -> Iterator[Ground]:
    """Start the chain `setup_s` before the scenario's start; stop on leaving."""
    path = ticks(scenario)
    born = scenario.start - setup_s
    histories = {symbol: past_rounds(scenario, symbol, born) for symbol in scenario.assets}
    for symbol in DOLLARS:
        histories[symbol] = random_walk_rounds(
            symbol=symbol,
            seed=scenario.seed,
            end_answer=DOLLAR,
            end_time=born,
            volatility_per_year=DOLLAR_COIN_VOLATILITY,
        )
    spec = ChainSpec(
        start=born, histories=histories, seed=scenario.seed, base_fee_wei=path[0].gas_price_wei
    )
    with local_chain(spec, toolchain) as chain:
        liquidator = Liquidator(
            rpc=chain.rpc,
            pool=chain.contracts.aave.pool.address,
            contract=chain.contracts.liquidator,
        )
        market = Market(chain=chain, liquidator=liquidator)
        market.fund_trader()
        yield Ground(chain=chain, market=market, path=path)


@contextmanager
def staged(
    scenario: Scenario, toolchain: Toolchain, guarding: Guarding = DIRECT
) -> Iterator[Stage]:
    """Start the chain, open the twins' positions at the scenario's first price; stop on leaving.

    Raises what `local_chain` raises."""
    with grounded(scenario, toolchain) as ground:
        chain = ground.chain
        wallet = _wallet(chain, guarding)
        twins = _open_twins(chain, wallet)
        keeper = chain.account("keeper") if guarding.mode == "guardian" else None
        yield Stage(
            chain=chain,
            market=ground.market,
            path=ground.path,
            twins=twins,
            mandates={} if keeper is None else _mandates(chain, twins, keeper.address, wallet),
            keeper=keeper,
        )


def _wallet(chain: LocalChain, guarding: Guarding) -> dict[str, int]:
    """Raw units that each twin holds beside its position."""
    weth, usdc = chain.contracts.token("WETH"), chain.contracts.token("USDC")
    if guarding.reserve is None:
        return {"WETH": WALLET_WETH * weth.unit, "USDC": WALLET_USDC * usdc.unit}
    return {"USDC": int(guarding.reserve * _debt_usd8(chain)) * usdc.unit // DOLLAR}


def _mandates(
    chain: LocalChain, twins: Mapping[str, DevAccount], keeper: Address, wallet: Mapping[str, int]
) -> dict[str, Intended]:
    return {
        twin.name: place_guardian(
            chain,
            owner=twins[twin.name].address,
            keeper=keeper,
            target=Fraction(twin.policy.target),
            sellable={"WETH": COLLATERAL_WETH * chain.contracts.token("WETH").unit},
            reserve=wallet,
        )
        for twin in TWINS
        if twin.policy is not None
    }


def _debt_usd8(chain: LocalChain) -> int:
    _, answer, *_ = chain.read(chain.contracts.feeds["WETH"], "latestRoundData")
    counted = COLLATERAL_WETH * answer * RESERVES["WETH"].liquidation_threshold // BPS
    return int(counted * WAD // HEALTH_AT_START)


def _open_twins(chain: LocalChain, wallet: Mapping[str, int]) -> dict[str, DevAccount]:
    weth, usdc = chain.contracts.token("WETH"), chain.contracts.token("USDC")
    debt_usd8 = _debt_usd8(chain)
    twins = {twin.name: chain.account(twin.name) for twin in TWINS}
    for account in twins.values():
        chain.open_position(
            account.address,
            collateral={"WETH": COLLATERAL_WETH * weth.unit},
            debt={"USDC": debt_usd8 * usdc.unit // DOLLAR},
        )
        # The borrowed dollars are spent: what is left in the wallet is the reserve.
        chain.transact(
            account.address,
            chain.contracts.tokens["USDC"],
            "transfer",
            chain.account("market_maker").address,
            debt_usd8 * usdc.unit // DOLLAR,
        )
        for symbol, raw in wallet.items():
            chain.mint(symbol, account.address, raw)
    return twins
