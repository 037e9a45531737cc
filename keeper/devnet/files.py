"""The keeper's files for the guarded twins: one configuration, a keystore file per signer."""

import json
from collections.abc import Mapping
from pathlib import Path

from eth_account import Account

from keeper.devnet.accounts import DevAccount
from keeper.devnet.chain import LocalChain
from keeper.devnet.market import REFERENCES
from keeper.devnet.twins import TWINS, Policy

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

[store]
path = "{journal}"

[fees]
max_fee_gwei = 3000

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

[signers.{name}]
keystore = "{keystore}"

[[positions]]
label = "{name}"
market = "aave"
account = "{account}"
policy = "{name}"
signer = "{name}"
"""


def environment() -> dict[str, str]:
    """The variables that a keeper with these files needs."""
    return {"KEEPER_KEYSTORE_PASSWORD": KEYSTORE_PASSWORD}


def write_files(
    folder: Path, chain: LocalChain, rpc_url: str, ws_url: str, twins: Mapping[str, DevAccount]
) -> Path:
    """Write configuration and keystores into `folder`; returns the configuration's path."""
    text = _HEAD.format(
        chain_id=chain.chain_id,
        rpc_url=rpc_url,
        ws_url=ws_url,
        journal=JOURNAL,
        provider=chain.contracts.aave.pool_addresses_provider.address,
    )
    contracts = chain.contracts
    for symbol, pool in REFERENCES.items():
        text += _MARKET_PRICE.format(
            feed=contracts.feeds[symbol].address,
            pool=contracts.uniswap.pools[pool].address,
            base=contracts.tokens[symbol].address,
        )
    for twin in TWINS:
        if twin.policy is not None:
            text += _guarded(folder, twin.name, twin.policy, twins[twin.name])
    path = folder / "keeper.toml"
    path.write_text(text, encoding="utf-8")
    return path


def write_keystore(path: Path, key: bytes) -> None:
    """A keystore file of a throw-away key, locked with `KEYSTORE_PASSWORD`."""
    path.touch(mode=OWNER_ONLY)
    locked = Account.encrypt(key, KEYSTORE_PASSWORD, "scrypt", SCRYPT_N)
    path.write_text(json.dumps(locked), encoding="utf-8")


def _guarded(folder: Path, name: str, policy: Policy, account: DevAccount) -> str:
    keystore = folder / f"{name}.json"
    write_keystore(keystore, bytes.fromhex(account.private_key[2:]))
    return _GUARDED.format(
        name=name, policy=policy.toml(), keystore=keystore.name, account=account.address
    )
