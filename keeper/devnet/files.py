"""The keeper's files for the guarded twins: one configuration, a keystore file per signer."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from eth_account import Account

from keeper.devnet.chain import LocalChain
from keeper.devnet.market import REFERENCES
from keeper.devnet.stage import Stage
from keeper.devnet.twins import TWINS, Policy
from keeper.mandate.owner import Intended
from keeper.model.units import WAD, Address, Amount

KEYSTORE_PASSWORD = "local chain"  # noqa: S105 - the keys it locks are worth nothing
SCRYPT_N = 4096
"""A light work factor: these keystores are opened in milliseconds instead of a second."""
JOURNAL = "keeper.sqlite3"
OWNER_ONLY = 0o600

_HEAD = """\
# Written for a local chain; its keys are worth nothing.
[chain]
id = {chain_id}
rpc_url = "{rpc_url}"
ws_url = "{ws_url}"
quoter = "{quoter}"
wrapped_native = "{wrapped_native}"

[store]
path = "{journal}"

[fees]
max_fee_gwei = 3000
"""

_AAVE = """
[markets.aave]
protocol = "aave_v3"
pool_addresses_provider = "{provider}"
"""

_MARKET_PRICE = """
[[market_prices]]
feed = "{feed}"
pool = "{pool}"
base = "{base}"
"""

_GUARDED = """
[policies.{name}]
{policy}

[[positions]]
label = "{name}"
market = "{market}"
account = "{account}"
policy = "{name}"
signer = "{signer}"
"""

_MANDATE = """
[mandates.{name}]
account = "{account}"
market = "aave"
keeper = "{keeper}"
max_health_to_act = {max_health_to_act}
target = {target}
max_per_day_usd = {max_per_day_usd}
cooldown = "{cooldown_s}s"
expires = {expires}
max_hops = {max_hops}
reserve_tokens = {{ {reserve_tokens} }}
collaterals = {{ {collaterals} }}
pools = [{pools}]
"""

_SIGNER = """
[signers.{name}]
keystore = "{name}.json"
"""


def environment() -> dict[str, str]:
    """The variables that a keeper with these files needs."""
    return {"KEEPER_KEYSTORE_PASSWORD": KEYSTORE_PASSWORD}


def write_files(stage: Stage, folder: Path, rpc_url: str, ws_url: str) -> Path:
    """Write configuration and keystores into `folder`; returns the configuration's path."""
    chain, contracts = stage.chain, stage.chain.contracts
    text = chain_section(chain, rpc_url, ws_url) + aave_section(chain)
    for symbol, pool in REFERENCES.items():
        text += _MARKET_PRICE.format(
            feed=contracts.feeds[symbol].address,
            pool=contracts.uniswap.pools[pool].address,
            base=contracts.tokens[symbol].address,
        )
    signers = {"keeper": stage.keeper} if stage.keeper else stage.guarded
    for name, signer in signers.items():
        text += signer_section(folder, name, signer.private_key)
    for twin in TWINS:
        if twin.policy is not None:
            named = "keeper" if stage.keeper else twin.name
            account = stage.twins[twin.name].address
            text += protected_section(twin.name, twin.policy, "aave", account, named)
        if twin.name in stage.guardians:
            text += f'guardian = "{stage.guardians[twin.name]}"\n'
    for name, intended in stage.mandates.items():
        text += _mandate(name, intended)
    path = folder / "keeper.toml"
    path.write_text(text, encoding="utf-8")
    return path


def chain_section(chain: LocalChain, rpc_url: str, ws_url: str) -> str:
    """What a configuration begins with, markets left out."""
    return _HEAD.format(
        chain_id=chain.chain_id,
        rpc_url=rpc_url,
        ws_url=ws_url,
        journal=JOURNAL,
        quoter=chain.contracts.uniswap.quoter.address,
        wrapped_native=chain.contracts.tokens["WETH"].address,
    )


def aave_section(chain: LocalChain) -> str:
    """The lending market, named aave."""
    return _AAVE.format(provider=chain.contracts.aave.pool_addresses_provider.address)


def signer_section(folder: Path, name: str, private_key: str) -> str:
    """Writes a keystore beside the configuration; returns the section that names it."""
    write_keystore(folder / f"{name}.json", bytes.fromhex(private_key[2:]))
    return _SIGNER.format(name=name)


def protected_section(name: str, policy: Policy, market: str, account: Address, signer: str) -> str:
    """A policy and the position that it protects, both of that name."""
    return _GUARDED.format(
        name=name, policy=policy.toml(), market=market, account=account, signer=signer
    )


def write_keystore(path: Path, key: bytes) -> None:
    """A keystore file of a throw-away key, locked with `KEYSTORE_PASSWORD`."""
    path.touch(mode=OWNER_ONLY)
    locked = Account.encrypt(key, KEYSTORE_PASSWORD, "scrypt", SCRYPT_N)
    path.write_text(json.dumps(locked), encoding="utf-8")


def _mandate(name: str, intended: Intended) -> str:
    terms = intended.mandate
    return _MANDATE.format(
        name=name,
        account=intended.owner,
        keeper=terms.keeper,
        max_health_to_act=Decimal(terms.max_health_to_act) / WAD,
        target=Decimal(terms.target) / WAD,
        max_per_day_usd=terms.limit_max // 10**8,
        cooldown_s=terms.cooldown_s,
        expires=datetime.fromtimestamp(terms.expiry, UTC).date(),
        max_hops=terms.max_hops,
        reserve_tokens=_amounts(intended.from_reserve),
        collaterals=_amounts(intended.takeable),
        pools=", ".join(f'"{pool}"' for pool in terms.pools),
    )


def _amounts(amounts: Mapping[Address, Amount]) -> str:
    return ", ".join(f'"{token}" = {amount.decimal}' for token, amount in amounts.items())
