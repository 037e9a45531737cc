"""Bad input that only a chain, a key or a journal can show: 78, and nothing is sent.

The position is below its floor all along: a daemon that were not refused would act at once.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from eth_account import Account
from eth_typing import HexStr
from eth_utils.address import to_checksum_address

from keeper.devnet.accounts import DevAccount
from keeper.devnet.chain import LocalChain
from keeper.devnet.proxy import Gate, RecordingProxy
from keeper.devnet.recording import SEND
from keeper.model.units import Address
from keeper.storage.database import open_database
from tests.devnet.keeping.gates import WithoutMethod
from tests.devnet.keeping.ground import Ground, Guarded
from tests.devnet.keeping.process import keeper
from tests.devnet.keeping.ward import ward
from tests.guardian import ground as guarding

PUBLIC = DevAccount(
    name="main",
    address=Address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
    private_key="0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
)
"""Account 0 of the mnemonic that Anvil and Hardhat print."""

KEY = "KEEPER_SIGNERS__MAIN__PRIVATE_KEY"
PASSWORD = "KEEPER_KEYSTORE_PASSWORD"
Spoil = Callable[[str], str]


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Ground:
    return Ground(chain=chain, folder=tmp_path)


async def refused(
    ground: Ground,
    one: Guarded,
    environ: Mapping[str, str] | None = None,
    *,
    spoil: Spoil = lambda text: text,
    gate: Gate | None = None,
) -> str:
    """What `keeper run --live --once` says before it ends with 78, having sent nothing."""
    before = ground.nonce(one, "pending")
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        config = ground.config(proxy.http_url, None)
        config.write_text(spoil(config.read_text()))
        environ = {KEY: one.account.private_key} if environ is None else environ
        async with keeper("run", "--live", "--once", config=config, environ=environ) as running:
            assert await running.ended() == 78, running.log()
        assert not [post for post in proxy.recording.posts if SEND in post.methods]
    assert ground.nonce(one, "pending") == before
    assert ground.events(one) == []
    assert running.output == ""
    said = "\n".join(str(line["text"]) for line in running.lines if "text" in line)
    assert said.startswith("keeper: ")
    assert "\n  why: " in said
    assert "\n  fix: " in said
    assert "Traceback" not in said
    assert one.account.private_key[2:] not in said
    return said


def replaced(old: str, new: str) -> Spoil:
    def spoil(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return spoil


def with_keystore(name: str) -> Spoil:
    return replaced("[signers.main]", f'[signers.main]\nkeystore = "{name}"')


def keystore(ground: Ground, one: Guarded, mode: int = 0o600) -> Path:
    """Made with one round of key derivation, so that opening it is quick."""
    path = ground.folder / "main.json"
    key = HexStr(one.account.private_key)
    path.write_text(json.dumps(Account.encrypt(key, "bird", kdf="pbkdf2", iterations=1)))
    path.chmod(mode)
    return path


# -- the chain -------------------------------------------------------------------------------------


async def test_run__node_of_another_chain__is_refused_at_its_line(ground: Ground) -> None:
    one = ground.guard()
    said = await refused(ground, one, spoil=replaced("id = 31337", "id = 1"))
    assert "keeper.toml:2: chain.id: the node answers for chain 31337, not 1" in said
    assert "fix: write id = 31337, or point rpc_url to a node of chain 1" in said


@pytest.mark.parametrize("key", ["pool_addresses_provider", "multicall"])
async def test_run__address_without_code__is_refused_at_its_line(ground: Ground, key: str) -> None:
    one = ground.guard()
    provider = ground.chain.contracts.aave.pool_addresses_provider.address
    empty = ground.chain.account("nobody").address
    spoil = (
        replaced(provider, empty)
        if key == "pool_addresses_provider"
        else replaced("[chain]", f'[chain]\nmulticall = "{empty}"')
    )
    said = await refused(ground, one, spoil=spoil)
    config = ground.folder / "keeper.toml"
    line = 1 + [key in text for text in config.read_text().splitlines()].index(True)
    assert f"keeper: {config}:{line}: " in said
    assert f"{key}: there is no contract at {empty} on chain 31337" in said


async def test_run__another_contract_than_the_one_needed__is_refused_by_its_address(
    ground: Ground,
) -> None:
    one = ground.guard()
    aave = ground.chain.contracts.aave
    spoil = replaced(aave.pool_addresses_provider.address, aave.pool.address)
    said = await refused(ground, one, spoil=spoil)
    where = "keeper.toml:18: markets.aave.pool_addresses_provider: "
    assert f"{where}the contract at {aave.pool.address} does not answer getPool()" in said
    assert "it is no PoolAddressesProvider of Aave v3" in said


def market_price(**addresses: Address) -> str:
    lines = "".join(f'{key} = "{address}"\n' for key, address in addresses.items())
    return f"[[market_prices]]\n{lines}"


@pytest.mark.parametrize(
    ("key", "kind"),
    [("feed", "Chainlink feed"), ("pool", "Uniswap v3 pool"), ("base", "token")],
)
async def test_run__contract_that_lacks_a_function__is_refused_at_its_line(
    ground: Ground, key: str, kind: str
) -> None:
    contracts = ground.chain.contracts
    right = {
        "feed": contracts.feeds["WETH"].address,
        "pool": next(iter(contracts.uniswap.pools.values())).address,
        "base": contracts.tokens["WETH"].address,
    }
    wrong = contracts.aave.pool_addresses_provider.address
    ground.sections.append(market_price(**right | {key: wrong}))
    said = await refused(ground, ground.guard())
    assert f"market_prices[0].{key}: the contract at {wrong} does not answer " in said
    assert f"it is no {kind}" in said


async def test_run__other_contract_as_multicall__is_refused_at_its_line(ground: Ground) -> None:
    token = ground.chain.contracts.tokens["WETH"].address
    spoil = replaced("[chain]", f'[chain]\nmulticall = "{token}"')
    said = await refused(ground, ground.guard(), spoil=spoil)
    assert f"keeper.toml:2: chain.multicall: the contract at {token} does not answer " in said
    assert "it is no Multicall3" in said


@pytest.mark.parametrize("kind", ["aToken", "variable debt token"])
async def test_run__token_of_a_deposit_or_a_debt_for_the_token__is_refused(
    ground: Ground, kind: str
) -> None:
    contracts, chain = ground.chain.contracts, ground.chain
    data = chain.read(contracts.aave.pool, "getReserveData", contracts.tokens["WETH"].address)
    derived = Address(to_checksum_address(data[8 if kind == "aToken" else 10]))
    ground.sections.append(
        market_price(
            feed=contracts.feeds["WETH"].address,
            pool=next(iter(contracts.uniswap.pools.values())).address,
            base=derived,
        )
    )
    said = await refused(ground, ground.guard())
    own = contracts.tokens["WETH"].address
    assert (
        f"market_prices[0].base: {derived} is the {kind} of WETH, whose own address is {own}"
        in (said)
    )


async def test_run__guardian_of_another_owner__is_refused_at_its_line(ground: Ground) -> None:
    one = ward(ground)
    other = guarding.deploy(ground.chain, ground.chain.account("other").address)
    said = await refused(
        ground,
        one,
        {"KEEPER_SIGNERS__MAIN__PRIVATE_KEY": one.keeper.private_key},
        spoil=replaced(one.guardian.address, other.address),
    )
    owner, other_owner = one.account.address, ground.chain.account("other").address
    assert "positions[0].guardian: this guardian belongs to " in said
    assert f"{other_owner}, not to the position's account {owner}" in said


@pytest.mark.parametrize("kind", ["token", "account"])
async def test_run__something_else_for_a_guardian__is_refused_at_its_line(
    ground: Ground, kind: str
) -> None:
    one = ward(ground)
    token, account = (
        ground.chain.contracts.tokens["WETH"].address,
        ground.chain.account("bob").address,
    )
    wrong, what = {
        "token": (token, f"the contract at {token} does not answer owner()"),
        "account": (account, f"there is no contract at {account} on chain 31337"),
    }[kind]
    said = await refused(ground, one, spoil=replaced(one.guardian.address, wrong))
    assert f"keeper.toml:33: positions[0].guardian: {what}" in said
    assert f"fix: give the guardian of {one.account.address}, which `keeper mandate show`" in said


# -- money is at stake -----------------------------------------------------------------------------

WRAPPED = 'wrapped_native = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"'
"""Written down, the chain need not be one that keeper knows."""
HOOK = "KEEPER_WEBHOOK_URL"


def as_real() -> Gate:
    """What makes a chain local is that its node is an Anvil, not its chain id."""
    return WithoutMethod("anvil_nodeInfo")


async def test_run__unknown_chain_that_is_not_local__is_refused(ground: Ground) -> None:
    said = await refused(ground, ground.guard(), gate=as_real())
    assert (
        "keeper.toml:2: chain.id: chain 31337 is not local, and not one that keeper knows" in said
    )
    assert "Ethereum (1), OP Mainnet (10)" in said


async def test_run__nobody_hears_of_alerts_on_a_real_chain__is_refused(ground: Ground) -> None:
    spoil = replaced("[chain]", f"[chain]\n{WRAPPED}")
    said = await refused(ground, ground.guard(), spoil=spoil, gate=as_real())
    assert "service: nobody would hear of an alert on a chain with real money" in said
    assert "KEEPER_WEBHOOK_URL, or run with --without-safety-net" in said


async def test_run__one_endpoint_alone_on_a_real_chain__is_refused(ground: Ground) -> None:
    one = ground.guard()
    said = await refused(
        ground,
        one,
        {KEY: one.account.private_key, HOOK: "http://127.0.0.1:9/hook"},
        spoil=replaced("[chain]", f"[chain]\n{WRAPPED}"),
        gate=as_real(),
    )
    assert "chain.rpc_url: one endpoint alone reads a chain with real money" in said
    assert "add [endpoints.second]" in said


async def test_run__without_safety_net_by_name__protects(ground: Ground) -> None:
    one = ground.guard()
    ground.settings["wrapped_native"] = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
    gate = as_real()
    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url, gate) as proxy:
        config = ground.config(proxy.http_url, None)
        options = ("run", "--live", "--without-safety-net")
        environ = {KEY: one.account.private_key}
        async with keeper(*options, config=config, environ=environ) as running:
            await running.said("transaction.sent")


async def test_run__fee_ceiling_below_the_base_fee__is_warned_of(ground: Ground) -> None:
    ground.guard()
    ground.environ["KEEPER_FEES__MAX_FEE_GWEI"] = "0.000000002"
    ground.environ["KEEPER_FEES__MIN_PRIORITY_FEE_GWEI"] = "0.000000001"
    async with (
        RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy,
        ground.keeper(proxy, ws=False) as running,
    ):
        line = await running.said("settings.doubtful", level="warning")
        assert line["where"] == "environment variable KEEPER_FEES__MAX_FEE_GWEI"
        assert line["what"].startswith("2e-09 gwei is below the base fee of block ")
        await running.said("keeper.ready")


# -- the keys --------------------------------------------------------------------------------------


async def test_run__key_that_everybody_knows__is_refused_unless_the_chain_is_local(
    ground: Ground,
) -> None:
    ground.chain.accounts["main"] = PUBLIC
    one = ground.guard()
    # What makes a chain local is that its node is an Anvil, not its chain id.
    said = await refused(ground, one, gate=WithoutMethod("anvil_nodeInfo"))
    assert f'the key of "main" ({PUBLIC.address}) is one that Anvil and Hardhat print' in said
    assert "positions[0].signer: " in said
    assert "never fund this account" in said

    async with RecordingProxy(ground.chain.rpc_url, ground.chain.ws_url) as proxy:
        config = ground.config(proxy.http_url, None)
        async with keeper(
            "run", "--live", config=config, environ={KEY: PUBLIC.private_key}
        ) as running:
            await running.said("transaction.sent")


async def test_run__keystore_that_others_can_read__is_refused(ground: Ground) -> None:
    one = ground.guard()
    path = keystore(ground, one, mode=0o644)
    said = await refused(ground, one, {PASSWORD: "bird"}, spoil=with_keystore("main.json"))
    assert f"keeper: {path}: other users may open this keystore (mode 0644)" in said
    assert f"fix: chmod 600 {path}" in said


async def test_run__wrong_password__is_refused_and_not_repeated(ground: Ground) -> None:
    one = ground.guard()
    path = keystore(ground, one)
    said = await refused(ground, one, {PASSWORD: "canary"}, spoil=with_keystore("main.json"))
    assert f"keeper: {path}: the password does not open this keystore" in said
    assert "canary" not in said


@pytest.mark.parametrize(
    ("environ", "name", "expected"),
    [
        ({PASSWORD: "bird"}, "none.json", "none.json: the keystore cannot be read: No such file"),
        ({PASSWORD: "bird"}, "keeper.toml", "keeper.toml: this is not a keystore"),
        ({PASSWORD: "bird"}, ".", ": the keystore cannot be read: Is a directory"),
        ({}, "main.json", "main.json: there is no password for this keystore"),
        ({}, None, "keeper.toml:24: signers.main: there is no key for this signer"),
        (
            {KEY: "0x" + 64 * "f"},
            None,
            "keeper.toml:24: signers.main: the private key is not valid",
        ),
        ({KEY: "0x" + 63 * "0" + "1"}, None, 'positions[0].signer: the key of "main" belongs to'),
    ],
)
async def test_run__no_usable_key__is_refused(
    ground: Ground, environ: dict[str, str], name: str | None, expected: str
) -> None:
    one = ground.guard()
    keystore(ground, one)
    (ground.folder / "keeper.toml").touch(mode=0o600)
    spoil = with_keystore(name) if name else replaced("", "")
    assert expected in await refused(ground, one, environ, spoil=spoil)


# -- the journal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["garbage", "folder", "nowhere"])
async def test_run__journal_that_cannot_be_one__is_refused(ground: Ground, kind: str) -> None:
    one = ground.guard()
    path = ground.folder / "keeper.sqlite3"
    match kind:
        case "garbage":
            path.write_text("this is no database, whatever it may be called")
        case "folder":
            path.mkdir()
        case _:
            path = ground.folder / "no such folder" / "keeper.sqlite3"
    spoil = replaced('path = "keeper.sqlite3"', f'path = "{path}"')
    said = await refused(ground, one, spoil=spoil)
    assert f"keeper: {path}: it cannot be opened as the journal" in said


async def test_run__journal_of_a_newer_keeper__is_refused(ground: Ground) -> None:
    one = ground.guard()
    open_database(ground.journal).dispose()
    with sqlite3.connect(ground.journal) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    said = await refused(ground, one)
    assert f"keeper: {ground.journal}: it was written by a newer keeper" in said
    assert "fix: upgrade keeper" in said
