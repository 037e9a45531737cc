"""The configuration that `keeper fork` writes from the user's."""

import tomllib
from pathlib import Path
from typing import Any, cast

from eth_account import Account

from keeper.backtest.policies import roster
from keeper.config import load_settings
from keeper.devnet.files import environment, protected_section, write_keystore
from keeper.devnet.fork import Fork, write_config
from keeper.devnet.twins import WATCHFUL
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


def fork() -> Fork:
    return Fork(
        rpc_url="http://127.0.0.1:1",
        ws_url="ws://127.0.0.1:1",
        chain_id=10**12 + 1,
        origin=cast("Any", None),
        node=cast("Any", None),
        rpc=cast("Any", None),
    )


def test_write_config__demos_own_configuration__is_played_by_the_same_policy_file(
    tmp_path: Path,
) -> None:
    text = (
        '[chain]\nid = 31337\nrpc_url = "http://127.0.0.1:1"\n[fees]\nmax_fee_gwei = 3000\n'
        f'[markets.aave]\nprotocol = "aave_v3"\npool_addresses_provider = "{OTHER}"\n'
        '[signers.forecast]\nkeystore = "forecast.json"\n'
        + protected_section("forecast", WATCHFUL, "aave", OWNER, "forecast")
    )
    ours, drill = tmp_path / "demo.toml", tmp_path / "drill"
    ours.write_text(text)
    write_keystore(tmp_path / "forecast.json", b"\x01" * 32)
    drill.mkdir()
    written = tomllib.loads(text)
    loaded = [
        load_settings(path, environment())
        for path in (ours, write_config(drill, fork(), written, {OWNER: Account.create()}))
    ]
    for settings in loaded:
        assert settings.policy_files["forecast"].id == "watchful"
        assert settings.policy_files["forecast"] in roster()
    assert loaded[0].policies == loaded[1].policies
    assert loaded[0].rules == loaded[1].rules


def test_write_config__guardian_relay_and_port_of_the_user__are_left_to_them(
    tmp_path: Path,
) -> None:
    heir = Account.create()
    path = write_config(tmp_path, fork(), USERS, {OWNER: heir})
    settings = load_settings(path, environment())
    (endpoint,) = settings.chain.endpoints
    assert (endpoint.url, settings.chain.private_only) == (fork().rpc_url, False)
    assert settings.chain.finality_blocks == 128
    assert (settings.quoter, settings.wrapped_native) == (OTHER, OWNER)
    (position,) = settings.positions
    assert position.account == heir.address
    assert (position.guardian, position.reserve) == (None, None)
    assert position.forgive_reverts_through is None
    assert (settings.service.http_port, settings.service.blind_after_s) == (0, 120)
    assert settings.mandates == {}
