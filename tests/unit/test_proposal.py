"""What `keeper init` proposes: it loads, and its limits fit the positions."""

from dataclasses import replace
from pathlib import Path

import pytest

from keeper.chain.settings import LocalKeySettings
from keeper.config import Settings, load_settings
from keeper.config.networks import network
from keeper.config.proposal import Guarded, proposed
from keeper.config.settings import MarketSettings
from keeper.model.units import Address, Wei
from tests.unit.test_config import ACCOUNT, OTHER

GWEI = 10**9
PROVIDER = Address("0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e")


def guarded(account: str = ACCOUNT, debt_usd: int = 0, market: str = "aave") -> Guarded:
    return Guarded(
        market=MarketSettings(
            name=market,
            protocol="aave_v3",
            entry=PROVIDER if market == "aave" else Address(OTHER),
        ),
        account=Address(account),
        health=1.5 if debt_usd else None,
        debt_usd=debt_usd,
    )


def loaded(
    tmp_path: Path,
    *positions: Guarded,
    base_fee_wei: int = GWEI,
    chain_id: int = 1,
    keystore: Path | None = None,
) -> Settings:
    path = tmp_path / "keeper.toml"
    path.write_text(
        proposed(
            chain_id=chain_id,
            known=network(chain_id),
            endpoint="https://eth.example/${RPC_KEY}",
            base_fee_wei=Wei(base_fee_wei),
            positions=positions,
            keystore=keystore,
            preset="balanced",
            further={},
        )
    )
    return load_settings(path, {"RPC_KEY": "parrot"})


def test_proposed__one_position__loads_and_keeps_the_api_key_out_of_the_file(
    tmp_path: Path,
) -> None:
    settings = loaded(tmp_path, guarded(debt_usd=10_703), keystore=Path("key.json"))
    (position,) = settings.positions
    assert (position.label, position.market, position.account) == ("main", "aave", ACCOUNT)
    signer = settings.signers["main"]
    assert isinstance(signer, LocalKeySettings)
    assert signer.keystore == tmp_path / "key.json"
    assert settings.chain.rpc_url == "https://eth.example/parrot"
    assert "parrot" not in (tmp_path / "keeper.toml").read_text()
    # Half the debt, 5,351.50, to two digits upwards; twice that a day.
    policy = settings.policies["main"]
    assert policy.max_per_action_usd8 == 5_400 * 10**8
    assert policy.max_per_day_usd8 == 10_800 * 10**8


def test_proposed__several_markets_of_one_account__share_its_signer(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path, guarded(debt_usd=10), guarded(OTHER, 3_000_000), guarded(market="other")
    )
    assert [(each.label, each.signer) for each in settings.positions] == [
        ("p1", "p1"),
        ("p2", "p2"),
        ("p3", "p1"),
    ]
    assert settings.policies["main"].max_per_action_usd8 == 1_500_000 * 10**8


@pytest.mark.parametrize(
    ("chain_id", "base_fee_wei", "max_fee_gwei"),
    [(1, GWEI // 2, 50), (1, 40 * GWEI, 800), (8453, GWEI // 100, 2), (8453, GWEI, 20)],
)
def test_proposed__fee_ceiling__leaves_room_above_todays_base_fee(
    tmp_path: Path, chain_id: int, base_fee_wei: int, max_fee_gwei: int
) -> None:
    one = replace(guarded(market="other"), health=None)
    settings = loaded(tmp_path, one, chain_id=chain_id, base_fee_wei=base_fee_wei)
    assert settings.fees.max_fee_wei == max_fee_gwei * GWEI
    assert settings.policies["main"].max_per_action_usd8 == 1_000 * 10**8


def test_proposed__perp_venue__lists_what_its_accounts_use(tmp_path: Path) -> None:
    venue = MarketSettings(
        name="perp",
        protocol="perp_v2",
        entry=Address(OTHER),
        listed={"base_tokens": (Address(ACCOUNT),), "collateral_tokens": ()},
    )
    settings = loaded(tmp_path, replace(guarded(debt_usd=9_890), market=venue))
    market = settings.markets["perp"]
    assert (market.protocol, market.entry) == ("perp_v2", OTHER)
    assert market.listed == {"base_tokens": (ACCOUNT,)}
    assert "9,890 USD notional when this was written" in (tmp_path / "keeper.toml").read_text()
