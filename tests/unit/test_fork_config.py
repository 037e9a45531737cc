"""The configuration that `keeper fork` writes from the user's."""

from pathlib import Path
from typing import Any, cast

from eth_account import Account

from keeper.config import load_settings
from keeper.devnet.files import environment
from keeper.devnet.fork import Fork, write_config
from keeper.model.units import Address

OWNER = Address("0x52908400098527886E0F7030069857D2E4169EE7")
OTHER = Address("0x8617E340B3D01FA5F11F306F4090FD50E238070D")
USERS: dict[str, Any] = {
    "chain": {
        "id": 1,
        "private_sending": "only",
        "finality_blocks": 128,
        "quoter": OTHER,
        "wrapped_native": OWNER,
    },
    "endpoints": {"relay": {"url": "https://relay.example", "use": "private"}},
    "service": {"http_port": 9464, "blind_after": "2m"},
    "fees": {"max_fee_gwei": 500},
    "policies": {
        "careful": {"floor": 1.15, "target": 1.4, "max_per_action_usd": 100, "max_per_day_usd": 100}
    },
    "markets": {"aave": {"protocol": "aave_v3", "pool_addresses_provider": OTHER}},
    "signers": {"alice": {"keystore": "alice.json"}},
    "positions": [
        {
            "label": "main",
            "market": "aave",
            "account": OWNER,
            "policy": "careful",
            "signer": "alice",
            "guardian": OTHER,
            "reserve": OTHER,
            "sources": ["vault", "pool"],
            "forgive_reverts_through": 12,
        }
    ],
    "mandates": {"main": {"account": OWNER, "collaterals": {OTHER: 5}}},
}


def test_write_config__guardian_relay_and_port_of_the_user__are_left_to_them(
    tmp_path: Path,
) -> None:
    fork = Fork(
        rpc_url="http://127.0.0.1:1",
        ws_url="ws://127.0.0.1:1",
        chain_id=10**12 + 1,
        origin=cast("Any", None),
        node=cast("Any", None),
        rpc=cast("Any", None),
    )
    heir = Account.create()
    path = write_config(tmp_path, fork, USERS, {OWNER: heir})
    settings = load_settings(path, environment())
    (endpoint,) = settings.chain.endpoints
    assert (endpoint.url, settings.chain.private_only) == (fork.rpc_url, False)
    assert settings.chain.finality_blocks == 128
    assert (settings.quoter, settings.wrapped_native) == (OTHER, OWNER)
    (position,) = settings.positions
    assert position.account == heir.address
    assert (position.guardian, position.reserve) == (None, None)
    assert position.forgive_reverts_through is None
    assert (settings.service.http_port, settings.service.blind_after_s) == (0, 120)
    assert settings.mandates == {}
