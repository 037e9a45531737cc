"""Settings: what a file and the environment become, and how every mistake is told."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from keeper.chain.settings import (
    KmsSignerSettings,
    LocalKeySettings,
    RemoteSignerSettings,
    Use,
)
from keeper.config import Settings, default_path, load_settings
from keeper.model.alerts import Severity
from keeper.model.errors import ConfigurationError
from keeper.model.units import WAD, Address
from keeper.protocols.market_source import FeedMarket, PoolMarket
from keeper.service.redaction import Redactor

ACCOUNT = "0x52908400098527886E0F7030069857D2E4169EE7"
OTHER = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
KEY = "0x" + "ab12" * 16
VALID = f"""\
[chain]
id = 31337
rpc_url = "http://127.0.0.1:8545"

[fees]
max_fee_gwei = 500

[policies.careful]
floor = 1.15
trigger_probability = 0.05
target = 1.40
max_per_action_usd = 50_000
max_per_day_usd = 100_000.10

[markets.aave]
protocol = "aave_v3"
pool_addresses_provider = "{OTHER}"

[signers.alice]
keystore = "alice.json"

[[positions]]
label = "main"
market = "aave"
account = "{ACCOUNT}"
policy = "careful"
signer = "alice"
"""


def load(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path = tmp_path / "keeper.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, environ or {})


def local_key(settings: Settings) -> LocalKeySettings:
    signer = settings.signers["alice"]
    assert isinstance(signer, LocalKeySettings)
    return signer


def refused(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    """The message, with the folder cut off."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, environ)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_settings__valid_file__gives_exact_integers_and_stated_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID)

    policy = settings.policies["careful"]
    assert policy.floor == 115 * WAD // 100
    assert policy.target == policy.max_health_to_act == 14 * WAD // 10
    assert policy.horizon_s == 86_400
    assert policy.max_per_day_usd8 == 10_000_010_000_000  # 100,000.10 with 8 decimals
    assert settings.fees.max_fee_wei == 500 * 10**9
    assert settings.chain.multicall == "0xcA11bde05977b3631167028862bE2a173976CA11"
    assert settings.store_path == tmp_path / "keeper.sqlite3"
    assert local_key(settings).keystore == tmp_path / "alice.json"


def test_settings__more_decimals_than_the_unit__health_rounds_up_and_limits_down(
    tmp_path: Path,
) -> None:
    text = VALID.replace("1.15", "1.1500000000000000001")
    text = text.replace("50_000", "0.123456789\nmin_action_usd = 0.1")
    settings = load(tmp_path, text)

    assert settings.policies["careful"].floor == 115 * WAD // 100 + 1
    assert settings.policies["careful"].max_per_action_usd8 == 12_345_678


def test_settings__market_prices__are_pools_or_feeds(tmp_path: Path) -> None:
    sources = f"""
[[market_prices]]
feed = "{OTHER}"
pool = "{ACCOUNT}"
base = "{ACCOUNT}"

[[market_prices]]
feed = "{ACCOUNT}"
market_feed = "{OTHER}"
"""
    settings = load(tmp_path, VALID.replace("[signers.alice]", f"{sources}\n[signers.alice]"))
    assert settings.market_prices == (
        PoolMarket(feed=Address(OTHER), pool=Address(ACCOUNT), base=Address(ACCOUNT)),
        FeedMarket(feed=Address(ACCOUNT), market_feed=Address(OTHER)),
    )


def test_settings__no_trigger__only_the_floor_acts(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID.replace("trigger_probability = 0.05\n", ""))
    assert settings.policies["careful"].trigger_probability is None


def test_settings__example_file__loads() -> None:
    example = Path(__file__).parents[2] / "config" / "keeper.example.toml"
    settings = load_settings(example, {"RPC_KEY": "k"})
    assert settings.chain.rpc_url == "https://eth.example/v3/k"


def test_settings__environment__wins_over_the_file_without_losing_digits(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        VALID,
        {
            "KEEPER_CHAIN__ID": "1",
            "KEEPER_POLICIES__CAREFUL__FLOOR": "1.2",
            "KEEPER_SIGNERS__ALICE__KEYSTORE_PASSWORD": "0123",
            "KEEPER_KEYSTORE_PASSWORD": "other",
            "HOME": "/nowhere",
        },
    )
    assert settings.chain.chain_id == 1
    assert settings.policies["careful"].floor == 12 * WAD // 10
    assert local_key(settings).keystore_password == SecretStr("0123")


def test_settings__signing_service__is_named_with_its_account_and_its_url_is_a_secret(
    tmp_path: Path,
) -> None:
    remote = f'remote_url = "https://${{SERVICE_KEY}}.example"\naddress = "{ACCOUNT}"\n'
    text = VALID.replace('keystore = "alice.json"\n', remote)
    settings = load(tmp_path, text, {"SERVICE_KEY": "s3cr3tpart"})
    url = "https://s3cr3tpart.example"
    assert settings.signers["alice"] == RemoteSignerSettings(
        name="alice", url=url, address=Address(ACCOUNT)
    )
    assert "s3cr3tpart" not in repr(settings)
    # Of a host name only what comes before the provider's own domain may be a key.
    remote = remote.replace("${SERVICE_KEY}.example", "signer.example/${SERVICE_KEY}")
    text = VALID.replace('keystore = "alice.json"\n', remote)
    assert "s3cr3tpart" in load(tmp_path, text, {"SERVICE_KEY": "s3cr3tpart"}).secrets


def test_settings__key_of_aws__is_named_by_its_id(tmp_path: Path) -> None:
    text = VALID.replace('keystore = "alice.json"', 'kms_key_id = "alias/keeper"')
    assert load(tmp_path, text).signers["alice"] == KmsSignerSettings(
        name="alice", key_id="alias/keeper"
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('kms_key_id = "k"', "has a keystore and a kms key id"),
        (f'remote_url = "https://s.example"\naddress = "{ACCOUNT}"', "keystore and a remote url"),
        (f'address = "{ACCOUNT}"', "`remote_url` and `address` belong together"),
    ],
)
def test_settings__signer_of_two_kinds__is_refused(tmp_path: Path, more: str, said: str) -> None:
    message = refused(tmp_path, VALID.replace('"alice.json"', f'"alice.json"\n{more}'))
    assert said in message
    assert "keeper.toml:19: signers.alice" in message


def test_settings__signer_without_keystore__takes_the_private_key(tmp_path: Path) -> None:
    text = VALID.replace('keystore = "alice.json"\n', "")
    settings = load(tmp_path, text, {"KEEPER_PRIVATE_KEY": f"{KEY}\n"})
    assert local_key(settings).private_key == SecretStr(KEY)
    assert KEY not in repr(settings)


def test_settings__shown__hides_every_secret(tmp_path: Path) -> None:
    text = VALID.replace("http://127.0.0.1:8545", "http://127.0.0.1:8545/${RPC_KEY}")
    settings = load(tmp_path, text, {"RPC_KEY": "canary", "KEEPER_KEYSTORE_PASSWORD": "bird"})
    assert settings.chain.rpc_url.endswith("/canary")
    assert "canary" not in repr(settings)
    assert "bird" not in repr(settings)


def test_settings__key_in_the_host_name__is_among_the_secrets(tmp_path: Path) -> None:
    text = VALID.replace("http://127.0.0.1:8545", "https://${RPC_KEY}.rpc.provider.example")
    assert "k3y-of-mine" in load(tmp_path, text, {"RPC_KEY": "k3y-of-mine"}).secrets


def test_settings__secrets__are_listed_for_the_log(tmp_path: Path) -> None:
    text = VALID.replace("http://127.0.0.1:8545", "http://127.0.0.1:8545/v3/${RPC_KEY}?k=${OTHER}")
    environ = {"RPC_KEY": "canary", "OTHER": "parrot", "KEEPER_KEYSTORE_PASSWORD": "hunter2"}
    assert load(tmp_path, text, environ).secrets == {"canary", "parrot", "hunter2"}


MISTAKES = {
    "unknown key": ("floor = 1.15", "flor = 1.15", ":9: policies.careful.flor: `flor` is not known", "write `floor`"),
    "unknown section": ("[fees]", "[feees]", ":5: feees: `feees` is not known", "write `fees`"),
    "missing key": ("max_fee_gwei = 500", "", ":5: fees.max_fee_gwei: `max_fee_gwei` is missing", "max_fee_gwei = 500"),
    "section as value": ("[chain]\nid = 31337\n", "chain = 3\n[other]\n", ":1: chain: `chain` is a section", "write [chain]"),
    "one position's brackets": ("[[positions]]", "[positions]", ":22: positions: `positions` is a list", "[[positions]]"),
    "text for a number": ("id = 31337", 'id = "mainnet"', ':2: chain.id: "mainnet" is text', "without quotes"),
    "quoted number": ("1.40", '"1.40"', ':11: policies.careful.target: "1.40" is text', "write it without quotes: 1.40"),
    "number for text": ('"main"', "7", ":23: positions[0].label: 7 is not text", "double quotes"),
    "boolean for a number": ("id = 31337", "id = true", ":2: chain.id: true is not a number", "write a number"),
    "broken number": ("id = 31337", "id = 1.5", ":2: chain.id: 1.5 is not a whole number", "whole"),
    "NaN": ("= 50_000", "= nan", ":12: policies.careful.max_per_action_usd: NaN is not a finite", "write a number"),
    "infinite": ("= 50_000", "= inf", ":12: policies.careful.max_per_action_usd: Infinity is not a", "leave an"),
    "negative amount": ("= 50_000", "= -5", ":12: policies.careful.max_per_action_usd: -5 is not above", "above zero"),
    "zero amount": ("= 50_000", "= 0", ":12: policies.careful.max_per_action_usd: 0 is not above", "above zero"),
    "dust": ("= 50_000", "= 0.000000001", ":12: policies.careful.max_per_action_usd: 0.000000001 US dollars", "0.00000001"),
    "raw units for dollars": ("= 50_000", "= 50000000000000000000", ":12:", "write dollars"),
    "wei for gwei": ("= 500", "= 500000000000", ":6: fees.max_fee_gwei: 500000000000 gwei cannot", "write gwei"),
    "percent for health": ("1.40", "150", ":11: policies.careful.target: 150 is a percentage", "write 1.5\n"),
    "huge health": ("1.40", "14.0", ":11: policies.careful.target: 14.0 is too much", "between 1 and 10"),
    "floor at 1": ("1.15", "1.0", ":9: policies.careful.floor: 1.0 is not above 1.0", "such as 1.15"),
    "target at floor": ("1.40", "1.15", ":11: policies.careful.target: target is not above floor", "1.40 over 1.15"),
    "percent for probability": ("0.05", "5", ":10: policies.careful.trigger_probability: 5 is a percentage", "write 0.05"),
    "certain": ("0.05", "1", ":10: policies.careful.trigger_probability: 1 is not between", "such as 0.05"),
    "impossible": ("0.05", "0", ":10: policies.careful.trigger_probability: 0 is not between", "such as 0.05"),
    "daily cap": ("100_000.10", "49_999", ":13: policies.careful.max_per_day_usd: max_per_day_usd is below", "raise"),
    "span without unit": ("target", "horizon = 24\ntarget", ":11: policies.careful.horizon: 24 is not text", 'horizon = "24h"'),
    "percent in quotes": ("0.05", '"5%"', ':10: policies.careful.trigger_probability: "5%" is text', "without quotes: 0.05\n"),
    "span in words": ("target", 'horizon = "a day"\ntarget', ":11: policies.careful.horizon: \"a day\" is not", '"24h"'),
    "ceiling below floor": ("target", "max_health_to_act = 1.1\ntarget", ":11: policies.careful.max_health_to_act: ", "leave"),
    "smallest above largest": ("target", "min_action_usd = 60_000\ntarget", ":11: policies.careful.min_action_usd", "lower"),
    "priority fee": ("= 500", "= 500\nmin_priority_fee_gwei = 501", ":7: fees.min_priority_fee_gwei: the smallest", "raise"),
    "bad checksum": (ACCOUNT, ACCOUNT[:-2] + "e7", ":25: positions[0].account: " + ACCOUNT[:-2] + "e7 has a wrong", "copy it again"),
    "no checksum": (ACCOUNT, ACCOUNT.lower(), "has no checksum", f"write {ACCOUNT}"),
    "zero address": (ACCOUNT, "0x" + "0" * 40, ":25: positions[0].account: this is the zero address", "is meant"),
    "short address": (ACCOUNT, "0x12", ':25: positions[0].account: "0x12" is not an address', "copy"),
    "unknown policy": ('policy = "careful"', 'policy = "carefull"', ":26: positions[0].policy: there is no [policies.carefull]", 'write "careful"'),
    "unknown protocol": ("aave_v3", "aave", ':16: markets.aave.protocol: "aave" is not known', 'write "aave_v3"'),
    "upper-case name": ("alice]", "Alice]", ':19: signers.Alice: "Alice" cannot be a name', "lower-case"),
    "no URL": ("http://127.0.0.1:8545", "127.0.0.1:8545", ":3: chain.rpc_url: this is not a URL", "http://"),
    "market price of nothing": ("[signers.alice]", f'[[market_prices]]\nfeed = "{OTHER}"\n[signers.alice]', ":19: market_prices[0]: a market price needs a pool", "or `market_feed` alone"),
    "market price of a pool alone": ("[signers.alice]", f'[[market_prices]]\nfeed = "{OTHER}"\npool = "{ACCOUNT}"\n[signers.alice]', "market_prices[0]: a market price needs a pool", "`base`"),
    "market price of itself": ("[signers.alice]", f'[[market_prices]]\nfeed = "{OTHER}"\nmarket_feed = "{OTHER}"\n[signers.alice]', ":20: market_prices[0].feed: this feed has another", "name another feed"),
    "unset variable": ("8545", "8545/${NOPE}", ":3: chain.rpc_url: the environment variable NOPE is not set", "set NOPE"),
    "beyond counting": ("id = 31337", "id = 1e400", ":2: chain.id: the number is too large", "smaller"),
    "never polled": ("id = 31337", "id = 31337\npoll_interval_s = 1e400", ":3: chain.poll_interval_s: 1E+400 is not between", "such as 1.0"),
    "always polled": ("id = 31337", "id = 31337\npoll_interval_s = 1e-400", ":3: chain.poll_interval_s: 1E-400 is not between", "such as 1.0"),
    "hardly possible": ("0.05", "1e-400", ":10: policies.careful.trigger_probability: 1E-400 is not between", "such as 0.05"),
    "nearly certain": ("0.05", "0." + 30 * "9", ":10: policies.careful.trigger_probability: 0.999", "such as 0.05"),
    "control character": ('"main"', '"main\\u001b[2J"', ":23: positions[0].label: the text holds characters", "one line"),
    "nobody's home": ("alice.json", "~no-such-user/alice.json", ':20: signers.alice.keystore: "~no-such-user', "whole path"),
    "plain http": ("http://127.0.0.1:8545", "http://eth.example", ":3: chain.rpc_url: http to a remote host", "https://"),
    "user in the URL": ("http://127.0.0.1:8545", "https://alice@eth.example", ":3: chain.rpc_url: the URL holds an API key", "${RPC_KEY}"),
    "no endpoint": ('rpc_url = "http://127.0.0.1:8545"', "", ":1: chain.rpc_url: no endpoint reads the chain", "rpc_url ="),
    "only read": ('rpc_url = "http://127.0.0.1:8545"', '[endpoints.a]\nurl = "https://a.example"\nuse = "read"', ":5: endpoints.a.use: no endpoint takes transactions", "use"),
    "endpoint without scheme": ("[fees]", '[endpoints.a]\nurl = "a.example"\n[fees]', ":6: endpoints.a.url: this is not a URL", "http://"),
    "endpoint without url": ("[fees]", '[endpoints.a]\nuse = "send"\n[fees]', "endpoints.a.url: `url` is missing", "url ="),
    "plain ws": ("[fees]", '[endpoints.a]\nurl = "https://a.example"\nws_url = "ws://a.example"\n[fees]', ":7: endpoints.a.ws_url: ws to a remote host", "wss://"),
    "key in an endpoint": ("[fees]", '[endpoints.a]\nurl = "https://a.example/v2/abcdefghij0123456789XYZ"\n[fees]', ":6: endpoints.a.url: the URL holds an API key", "KEEPER_ENDPOINTS"),
    "endpoint's variable": ("[fees]", '[endpoints.a]\nurl = "https://a.example/${NOPE}"\n[fees]', ":6: endpoints.a.url: the environment variable NOPE is not set", "set NOPE"),
    "unknown use": ("[fees]", '[endpoints.a]\nurl = "https://a.example"\nuse = "privat"\n[fees]', ':7: endpoints.a.use: "privat" is not known', 'write "private"'),
    "same endpoint twice": ("[fees]", '[endpoints.a]\nurl = "HTTP://127.0.0.1:8545/"\n[fees]', ":6: endpoints.a.url: this is the same endpoint as chain.rpc_url", "another provider"),
    "nothing private": ("id = 31337", 'id = 31337\nprivate_sending = "only"', ":3: chain.private_sending: there is no private endpoint", "private"),
    "no TOML": ("[fees]", "[fees", ":5: this is not TOML", "key = value"),
    "key twice": ("id = 31337", "id = 31337\nid = 1", ":3: this is not TOML", "once"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected", "fix"), MISTAKES.values(), ids=MISTAKES)
def test_settings__mistake__is_told_with_file_line_reason_and_fix(
    tmp_path: Path, old: str, new: str, expected: str, fix: str
) -> None:
    assert old in VALID
    message = refused(tmp_path, VALID.replace(old, new, 1))

    assert message.startswith("keeper.toml:")
    assert expected in message
    assert "\n  why: " in message
    assert fix in message.partition("\n  fix: ")[2] + "\n"


def test_settings__several_endpoints__keep_their_order_uses_and_secrets(tmp_path: Path) -> None:
    named = (
        '[endpoints.first]\nurl = "https://a.example/${RPC_KEY}"\nws_url = "wss://a.example"\n'
        '[endpoints.relay]\nurl = "https://b.example"\nuse = "private"\n[fees]'
    )
    environ = {
        "RPC_KEY": "canary",
        "KEEPER_ENDPOINTS__RELAY__URL": "https://c.example/parrot",
    }
    settings = load(tmp_path, VALID.replace("[fees]", named), environ)
    assert [(each.name, each.url, each.use) for each in settings.chain.endpoints] == [
        (None, "http://127.0.0.1:8545", Use.ALL),
        ("first", "https://a.example/canary", Use.ALL),
        ("relay", "https://c.example/parrot", Use.PRIVATE),
    ]
    assert {"canary", "parrot"} <= settings.secrets
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "10.1.2.3", "localhost", "geth", "node.internal"]
)
def test_settings__plain_http_within_ones_own_network__is_accepted(
    tmp_path: Path, host: str
) -> None:
    settings = load(tmp_path, VALID.replace("127.0.0.1", host))
    assert settings.chain.rpc_url == f"http://{host}:8545"


def test_settings__several_mistakes__are_told_together(tmp_path: Path) -> None:
    message = refused(tmp_path, VALID.replace("1.15", "115").replace("31337", "-1"))
    assert "keeper.toml:2: chain.id" in message
    assert "keeper.toml:9: policies.careful.floor: 115 is a percentage" in message


def test_settings__same_account_twice__is_refused_under_either_market_name(tmp_path: Path) -> None:
    again = VALID[VALID.index("[[positions]]") :].replace('"main"', '"second"')
    assert '"main" is already this account' in refused(tmp_path, VALID + again)

    alias = f'[markets.b]\nprotocol = "aave_v3"\npool_addresses_provider = "{OTHER}"\n'
    message = refused(tmp_path, VALID + again.replace('"aave"', '"b"') + alias)
    assert 'keeper.toml:31: positions[1].account: "main" is already this account' in message


def test_settings__same_label_twice__is_refused(tmp_path: Path) -> None:
    again = VALID[VALID.index("[[positions]]") :].replace(ACCOUNT, OTHER)
    message = refused(tmp_path, VALID + again)
    assert 'keeper.toml:29: positions[1].label: the label "main" is taken' in message
    assert "account" not in message


@pytest.mark.parametrize(
    "line",
    [
        f'private_key = "{KEY}"',
        f'keystore = "{KEY[2:]}"',
        f"private_key = {KEY}",
        f"# {KEY}",
        'password = "hunter2"',
        f'label = "{"test " * 11}junk"',
    ],
)
def test_settings__secret_in_the_file__is_refused_and_not_repeated(
    tmp_path: Path, line: str
) -> None:
    message = refused(tmp_path, VALID.replace('keystore = "alice.json"', line))
    assert message.startswith("keeper.toml:20: ")
    assert "stands in plain sight" in message
    assert KEY[2:] not in message
    assert "hunter2" not in message
    assert "test test" not in message


@pytest.mark.parametrize(
    "url",
    [
        "https://node.example/v3/0123456789abcdef0123456789abcdef",
        "https://node.example/?key=0123456789abcdef01234567",
        "https://user:hunter2@node.example/",
    ],
)
def test_settings__api_key_written_out__is_refused_and_not_repeated(
    tmp_path: Path, url: str
) -> None:
    message = refused(tmp_path, VALID.replace("http://127.0.0.1:8545", url))
    assert "keeper.toml:3: chain.rpc_url: the URL holds an API key or a password" in message
    assert "0123456789" not in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("variable", "value", "expected", "fix"),
    [
        ("KEEPER_CHAIN__ID", "x", "environment variable KEEPER_CHAIN__ID: 'x' is not a", "digits"),
        ("KEEPER_CHAIN__IDD", "1", "environment variable KEEPER_CHAIN__IDD: `idd`", "write `id`"),
        ("KEEPER_CHIAN__ID", "1", "environment variable KEEPER_CHIAN__ID", "KEEPER_CHAIN__ID"),
        ("KEEPER_CHAIN", '{"id": 1}', "`chain` is a section", "KEEPER_CHAIN__ID"),
        ("KEEPER_PRIVATE_KEY", "hunter2", "KEEPER_PRIVATE_KEY: this is not a private", "export"),
        ("KEEPER_SIGNERS__ALICE__PRIVATE_KEY", KEY, "has a keystore and a private key", "unset"),
    ],
)
def test_settings__mistake_in_the_environment__names_the_variable(
    tmp_path: Path, variable: str, value: str, expected: str, fix: str
) -> None:
    message = refused(tmp_path, VALID, {variable: value})
    assert expected in message
    assert fix in message
    assert "hunter2" not in message
    assert KEY[2:] not in message


def test_settings__no_file__points_to_the_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)no such file.*keeper\.example\.toml"):
        load_settings(tmp_path / "keeper.toml", {})


def test_settings__values_of_several_lines__do_not_shift_the_line(tmp_path: Path) -> None:
    text = VALID.replace("id = 31337", "id = 31337 # [fees]\nmulticall = '''\nx\n'''")
    assert "keeper.toml:3: chain.multicall: " in refused(tmp_path, text)


def test_default_path__own_file_only__is_found_under_xdg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    own = tmp_path / "xdg" / "keeper" / "keeper.toml"
    assert default_path(environ) == Path("keeper.toml")
    own.parent.mkdir(parents=True)
    own.touch()
    assert default_path(environ) == own
    (tmp_path / "keeper.toml").touch()
    assert default_path(environ) == Path("keeper.toml")


def test_settings__frozen__cannot_be_changed(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.chain.confirmations = 5  # type: ignore[misc]  # that it is frozen is the point


PERP = VALID.replace(
    f'protocol = "aave_v3"\npool_addresses_provider = "{OTHER}"',
    f'protocol = "perp_v2"\nclearing_house = "{OTHER}"\nbase_tokens = ["{ACCOUNT}"]',
)


def test_settings__perp_venue__is_found_from_its_clearing_house(tmp_path: Path) -> None:
    market = load(tmp_path, PERP).markets["aave"]
    assert (market.protocol, market.entry) == ("perp_v2", OTHER)
    assert market.listed == {"base_tokens": (ACCOUNT,)}


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (
            PERP.replace("clearing_house", "pool_addresses_provider"),
            "perp_v2 needs `clearing_house`",
        ),
        (
            PERP.replace("clearing_house", "pool_addresses_provider"),
            "perp_v2 has no `pool_addresses",
        ),
        (PERP.replace("base_tokens", "collateral_tokens"), "perp_v2 needs `base_tokens`"),
        (
            VALID.replace("pool_addresses_provider", "clearing_house"),
            "aave_v3 has no `clearing_house`",
        ),
        (PERP.replace(f'["{ACCOUNT}"]', f'"{ACCOUNT}"'), "is not a list"),
        (PERP.replace("perp_v2", "gmx"), "gmx"),
    ],
)
def test_settings__market_of_another_protocol__is_told_what_it_needs(
    tmp_path: Path, spoilt: str, said: str
) -> None:
    assert said in refused(tmp_path, spoilt)


# -- alerts ---------------------------------------------------------------------------------------

PHONE = {"KEEPER_CHANNELS__PHONE__APPRISE_URL": "json://127.0.0.1:1/T0K3NofThePhone"}


def test_settings__channel__takes_its_url_from_the_environment_and_hides_it(tmp_path: Path) -> None:
    channels = '[channels.phone]\nseverity = "critical"\nafter = "10m"\nper_hour = 6\n\n[fees]'
    settings = load(tmp_path, VALID.replace("[fees]", channels), PHONE)
    (phone,) = settings.service.alerts.channels
    assert (phone.name, phone.severity, phone.after_s, phone.per_hour) == (
        "phone",
        Severity.CRITICAL,
        600,
        6,
    )
    assert phone.url.get_secret_value() == PHONE["KEEPER_CHANNELS__PHONE__APPRISE_URL"]
    assert "T0K3N" not in repr(settings)
    assert "T0K3NofThePhone" in settings.secrets
    assert settings.service.alerts.heard


def test_settings__channel_in_the_environment_alone__is_enough(tmp_path: Path) -> None:
    (phone,) = load(tmp_path, VALID, PHONE).service.alerts.channels
    assert (phone.name, phone.severity, phone.after_s) == ("phone", Severity.INFO, 0)


def test_settings__token_that_stands_for_a_host__is_a_secret(tmp_path: Path) -> None:
    url = "tgram://123456789:abcdefg-hijklmnop/12315544/"
    settings = load(tmp_path, VALID, {"KEEPER_CHANNELS__PHONE__APPRISE_URL": url})
    hidden = Redactor(settings.secrets).text(f"no route to {url}: abcdefg-hijklmnop is refused")
    assert "abcdefg" not in hidden
    assert "hijklmnop" not in hidden


@pytest.mark.parametrize(
    ("more", "environ", "said"),
    [
        (
            "[channels.phone]\n",
            {},
            "keeper.toml:5: channels.phone: this channel has no URL",
        ),
        (
            '[channels.phone]\napprise_url = "tgram://secretbot/1"\n',
            {},
            "keeper.toml:6: the secret `apprise_url` stands in plain sight",
        ),
        (
            "",
            {"KEEPER_CHANNELS__PHONE__APPRISE_URL": "nowhere://secretbot"},
            "KEEPER_CHANNELS__PHONE__APPRISE_URL: apprise knows no service of this URL",
        ),
        (
            '[channels.phone]\nseverity = "panic"\n',
            PHONE,
            'channels.phone.severity: "panic" is not known here',
        ),
        ('[alerts]\ndigest = "0 25 * * *"\n', {}, 'alerts.digest: "0 25 * * *" is no crontab'),
        ('[alerts]\ndigest = "at eight"\n', {}, "alerts.digest"),
        (
            '[alerts]\ntime_zone = "Europe/Berln"\n',
            {},
            'write "Europe/Berlin"',
        ),
        ('[alerts]\ntime_zone = "../etc/passwd"\n', {}, "is no time zone"),
        ('[alerts]\nescalate_every = "0s"\n', {}, "alerts.escalate_every"),
        ("deadman_url = 1\n", {}, "the secret `deadman_url`"),
    ],
)
def test_settings__alerts_that_cannot_be_meant__are_refused_without_showing_a_secret(
    tmp_path: Path, more: str, environ: dict[str, str], said: str
) -> None:
    message = refused(tmp_path, VALID.replace("[fees]", f"{more}\n[fees]"), environ)
    assert said in message
    assert "secretbot" not in message


def test_settings__polled_seldom__is_accepted_beside_a_socket_or_a_later_alert(
    tmp_path: Path,
) -> None:
    seldom = VALID.replace("[fees]", "poll_interval_s = 60\n[fees]")
    message = refused(tmp_path, seldom)
    where = "keeper.toml:5: chain.poll_interval_s: blind_after, 45 s by default, is no longer than"
    assert where in message
    assert 'such as stall_after = "180s" in [service]' in message

    heard = seldom.replace("[fees]", 'ws_url = "ws://127.0.0.1:8546"\n[fees]')
    later = seldom + '[service]\nblind_after = "180s"\nstall_after = "180s"\n'
    for text in (heard, later):
        assert load(tmp_path, text).chain.poll_interval_s == 60

    # Nobody listens at an endpoint that only sends.
    sends = '[endpoints.a]\nurl = "https://a.example"\nws_url = "wss://a.example"\nuse = "send"\n'
    assert "blind_after, 45 s by default" in refused(tmp_path, seldom + sends)
    assert load(tmp_path, seldom + sends.replace('"send"', '"read"')).chain.poll_interval_s == 60


def test_settings__horizon_shorter_than_a_default_alert__is_told_at_the_horizon(
    tmp_path: Path,
) -> None:
    brief = VALID.replace("target =", 'horizon = "30s"\ntarget =')
    message = refused(tmp_path, brief)
    assert "keeper.toml:11: policies.careful.horizon: stall_after, 45 s by default, is" in message
