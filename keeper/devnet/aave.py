"""Deploys Aave v3.0 from the artifacts of `@aave/core-v3`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.deploying import Deployer, created_address
from keeper.model.units import RAY, Address

ZERO_ADDRESS: Final = Address("0x" + "00" * 20)
STABLECOINS_CATEGORY: Final = 1
BASE_CURRENCY_UNIT: Final = 10**8

_LOGIC = "protocol/libraries/logic"
_LIQUIDATION_PROTOCOL_FEE_BPS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveTerms:
    """Risk parameters and interest curve of one reserve, close to those of the first v3 markets."""

    ltv: int
    liquidation_threshold: int
    liquidation_bonus: int
    """10_000 plus the penalty in basis points."""
    reserve_factor: int
    optimal_usage_percent: int
    base_rate_percent: int
    slope1_percent: int
    slope2_percent: int
    stable_borrowing: bool = False
    e_mode_category: int = 0


RESERVES: Final[Mapping[str, ReserveTerms]] = {
    "WETH": ReserveTerms(
        ltv=8_000,
        liquidation_threshold=8_250,
        liquidation_bonus=10_500,
        reserve_factor=1_500,
        optimal_usage_percent=80,
        base_rate_percent=1,
        slope1_percent=4,
        slope2_percent=80,
    ),
    "WBTC": ReserveTerms(
        ltv=7_000,
        liquidation_threshold=7_500,
        liquidation_bonus=10_650,
        reserve_factor=2_000,
        optimal_usage_percent=45,
        base_rate_percent=0,
        slope1_percent=7,
        slope2_percent=300,
    ),
    "USDC": ReserveTerms(
        ltv=7_700,
        liquidation_threshold=8_000,
        liquidation_bonus=10_500,
        reserve_factor=1_000,
        optimal_usage_percent=90,
        base_rate_percent=0,
        slope1_percent=4,
        slope2_percent=60,
        stable_borrowing=True,
        e_mode_category=STABLECOINS_CATEGORY,
    ),
    "DAI": ReserveTerms(
        ltv=7_500,
        liquidation_threshold=8_000,
        liquidation_bonus=10_500,
        reserve_factor=1_000,
        optimal_usage_percent=80,
        base_rate_percent=0,
        slope1_percent=4,
        slope2_percent=75,
        stable_borrowing=True,
        e_mode_category=STABLECOINS_CATEGORY,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AaveContracts:
    """One market."""

    pool_addresses_provider: Contract
    pool: Contract
    pool_configurator: Contract
    oracle: Contract
    reserve_data_provider: Contract


def deploy_aave(
    deployer: Deployer,
    artifacts: Artifacts,
    tokens: Mapping[str, Contract],
    decimals: Mapping[str, int],
    feeds: Mapping[str, Contract],
) -> AaveContracts:
    """A market with a reserve per token of `RESERVES`; its admin is the deployer."""
    aave = _deploy_core(deployer, artifacts, tokens, feeds)
    _init_reserves(deployer, artifacts, aave, tokens, decimals)
    deployer.flush()
    _set_terms(deployer, aave.pool_configurator, tokens)
    deployer.flush()
    return aave


def _deploy_core(
    deployer: Deployer,
    artifacts: Artifacts,
    tokens: Mapping[str, Contract],
    feeds: Mapping[str, Contract],
) -> AaveContracts:
    libraries: dict[str, Address] = {}
    for name in ("Borrow", "Supply", "Liquidation", "EMode", "Bridge", "Pool", "Configurator"):
        logic = artifacts.aave(f"{_LOGIC}/{name}Logic")
        libraries[f"{name}Logic"] = deployer.create(logic).address
    flash_loans = artifacts.aave(f"{_LOGIC}/FlashLoanLogic")
    libraries["FlashLoanLogic"] = deployer.create(flash_loans, libraries=libraries).address

    provider = deployer.create(
        artifacts.aave("protocol/configuration/PoolAddressesProvider"),
        "Keeper local market",
        deployer.account,
    )
    # ACLManager's constructor reads the admin from the provider.
    deployer.call(provider, "setACLAdmin", deployer.account)
    acl = deployer.create(artifacts.aave("protocol/configuration/ACLManager"), provider.address)
    deployer.call(provider, "setACLManager", acl.address)
    for role in ("PoolAdmin", "RiskAdmin", "EmergencyAdmin", "AssetListingAdmin"):
        deployer.call(acl, f"add{role}", deployer.account)

    oracle = deployer.create(
        artifacts.aave("misc/AaveOracle"),
        provider.address,
        [token.address for token in tokens.values()],
        [feeds[symbol].address for symbol in tokens],
        ZERO_ADDRESS,
        ZERO_ADDRESS,
        BASE_CURRENCY_UNIT,
    )
    deployer.call(provider, "setPriceOracle", oracle.address)
    reserve_data_provider = deployer.create(
        artifacts.aave("misc/AaveProtocolDataProvider"), provider.address
    )
    deployer.call(provider, "setPoolDataProvider", reserve_data_provider.address)

    pool = deployer.create(
        artifacts.aave("protocol/pool/Pool"), provider.address, libraries=libraries
    )
    deployer.call(provider, "setPoolImpl", pool.address)
    configurator = deployer.create(
        artifacts.aave("protocol/pool/PoolConfigurator"), libraries=libraries
    )
    deployer.call(provider, "setPoolConfiguratorImpl", configurator.address)
    # The provider creates the two proxies in this order; a contract's first nonce is 1.
    return AaveContracts(
        pool_addresses_provider=provider,
        pool=Contract(address=created_address(provider.address, 1), interface=pool.interface),
        pool_configurator=Contract(
            address=created_address(provider.address, 2), interface=configurator.interface
        ),
        oracle=oracle,
        reserve_data_provider=reserve_data_provider,
    )


def _init_reserves(
    deployer: Deployer,
    artifacts: Artifacts,
    aave: AaveContracts,
    tokens: Mapping[str, Contract],
    decimals: Mapping[str, int],
) -> None:
    implementations = tuple(
        deployer.create(artifacts.aave(f"protocol/tokenization/{name}"), aave.pool.address).address
        for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    )
    curve = artifacts.aave("protocol/pool/DefaultReserveInterestRateStrategy")
    provider = aave.pool_addresses_provider.address
    listing = []
    for symbol, terms in RESERVES.items():
        strategy = deployer.create(curve, provider, *_curve_arguments(terms))
        listing.append(
            (
                *implementations,
                decimals[symbol],
                strategy.address,
                tokens[symbol].address,
                deployer.account,
                ZERO_ADDRESS,
                *(f"Aave {symbol}", f"a{symbol}"),
                *(f"Aave variable debt {symbol}", f"variableDebt{symbol}"),
                *(f"Aave stable debt {symbol}", f"stableDebt{symbol}"),
                b"",
            )
        )
    deployer.call(aave.pool_configurator, "initReserves", listing)


def _curve_arguments(terms: ReserveTerms) -> tuple[int, ...]:
    percent = RAY // 100
    return (
        terms.optimal_usage_percent * percent,
        terms.base_rate_percent * percent,
        terms.slope1_percent * percent,
        terms.slope2_percent * percent,
        percent // 2,  # stable slope below the optimal usage
        terms.slope2_percent * percent,  # stable slope above it
        percent,  # stable rate's offset from the variable one
        8 * percent,  # extra when too much of the debt is stable
        20 * percent,  # "too much" begins here
    )


def _set_terms(deployer: Deployer, configurator: Contract, tokens: Mapping[str, Contract]) -> None:
    deployer.call(
        configurator,
        "setEModeCategory",
        *(STABLECOINS_CATEGORY, 9_700, 9_750, 10_100, ZERO_ADDRESS, "Stablecoins"),
    )
    for symbol, terms in RESERVES.items():
        asset = tokens[symbol].address
        collateral = (terms.ltv, terms.liquidation_threshold, terms.liquidation_bonus)
        deployer.call(configurator, "configureReserveAsCollateral", asset, *collateral)
        deployer.call(configurator, "setReserveFactor", asset, terms.reserve_factor)
        deployer.call(
            configurator, "setLiquidationProtocolFee", asset, _LIQUIDATION_PROTOCOL_FEE_BPS
        )
        deployer.call(configurator, "setReserveBorrowing", asset, True)
        deployer.call(configurator, "setReserveFlashLoaning", asset, True)
        if terms.stable_borrowing:
            deployer.call(configurator, "setReserveStableRateBorrowing", asset, True)
        if terms.e_mode_category:
            deployer.call(configurator, "setAssetEModeCategory", asset, terms.e_mode_category)
