"""The packaged interfaces: equal to their sources, and covering what keeper calls."""

import json
from typing import Any

import pytest
from eth_utils.abi import abi_to_signature

from keeper.abi import aave_v3, erc20, perp_v2
from keeper.abi.multicall import AGGREGATE3
from keeper.abi.words import Function
from keeper.devnet.artifacts import Artifacts
from keeper.devnet.toolchain import Toolchain
from keeper.protocols import chainlink
from keeper.resources import resource

# Chainlink's and Multicall3's interfaces are not in a package of the local chain.
SOURCES = {
    "aave_v3_pool": "protocol/pool/Pool",
    "aave_v3_pool_addresses_provider": "protocol/configuration/PoolAddressesProvider",
    "aave_v3_oracle": "misc/AaveOracle",
    "aave_v3_price_oracle_sentinel": "interfaces/IPriceOracleSentinel",
    "aave_v3_a_token": "protocol/tokenization/AToken",
    "aave_v3_variable_debt_token": "protocol/tokenization/VariableDebtToken",
    "aave_v3_stable_debt_token": "protocol/tokenization/StableDebtToken",
    "erc20": "dependencies/openzeppelin/contracts/IERC20Detailed",
}
PERP = {
    "perp_v2_clearing_house": ("ClearingHouse", perp_v2.ClearingHouse),
    "perp_v2_config": ("ClearingHouseConfig", perp_v2.Config),
    "perp_v2_exchange": ("Exchange", perp_v2.Exchange),
    "perp_v2_order_book": ("OrderBook", perp_v2.OrderBook),
    "perp_v2_account_balance": ("AccountBalance", perp_v2.AccountBalance),
    "perp_v2_market_registry": ("MarketRegistry", perp_v2.MarketRegistry),
    "perp_v2_vault": ("Vault", perp_v2.Vault),
    "perp_v2_collateral_manager": ("CollateralManager", perp_v2.CollateralManager),
    "perp_v2_base_token": ("BaseToken", perp_v2.BaseToken),
}
CALLED = {
    **{name: called for name, (_, called) in PERP.items()},
    "aave_v3_pool": aave_v3.Pool,
    "aave_v3_pool_addresses_provider": aave_v3.AddressesProvider,
    "aave_v3_oracle": aave_v3.Oracle,
    "aave_v3_a_token": aave_v3.AToken,
    "aave_v3_variable_debt_token": aave_v3.VariableDebtToken,
    "aave_v3_stable_debt_token": aave_v3.StableDebtToken,
    "erc20": erc20,
    "chainlink_aggregator": chainlink,
}


def packaged(name: str) -> list[Any]:
    abi: list[Any] = json.loads(resource("contracts_abi", f"{name}.json").read_text())
    return abi


def signatures(name: str) -> set[str]:
    return {abi_to_signature(entry) for entry in packaged(name)}


@pytest.mark.parametrize("name", SOURCES)
def test_packaged_abi__against_its_source__says_the_same(name: str, toolchain: Toolchain) -> None:
    artifact = Artifacts(node_modules=toolchain.node_modules).aave(SOURCES[name])
    for entry in packaged(name):
        assert entry in artifact.interface.abi


@pytest.mark.parametrize("name", PERP)
def test_packaged_abi__against_perps_artifacts__says_the_same(
    name: str, toolchain: Toolchain
) -> None:
    contract, _ = PERP[name]
    artifact = Artifacts(node_modules=toolchain.node_modules).perp("curie-contract", contract)
    for entry in packaged(name):
        assert entry in artifact.interface.abi


@pytest.mark.parametrize("name", CALLED)
def test_packaged_abi__against_the_code__has_every_function_called(name: str) -> None:
    functions = {value for value in vars(CALLED[name]).values() if isinstance(value, Function)}
    assert functions
    assert {function.signature for function in functions} <= signatures(name)


def test_packaged_abi__multicall3__has_aggregate3() -> None:
    assert AGGREGATE3 in signatures("multicall3")
