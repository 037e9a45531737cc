"""`keeper mandate`: an owner sets, changes and ends a mandate on the real contracts."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from keeper.devnet.aave import ZERO_ADDRESS
from keeper.mandate.charter import REVOKE_MANDATE
from keeper.model.units import Address
from tests.devnet.keeping.commands import Commands
from tests.devnet.keeping.ground import Ground, Guarded

POOL = ("WETH", "USDC", 500)


class Owner(Commands):
    """A position's owner who writes a mandate and runs commands."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        super().__init__(ground, "mandate")
        self.folder = folder
        self.sections = ""
        self.one: Guarded = ground.guard()
        self.keeper = ground.chain.account("bot").address
        later = datetime.fromtimestamp(ground.chain.timestamp(), UTC) + timedelta(days=100)
        self.terms: dict[str, Any] = {
            "account": f'"{self.one.account.address}"',
            "market": '"aave"',
            "keeper": f'"{self.keeper}"',
            "max_health_to_act": "1.40",
            "target": "1.40",
            "max_per_day_usd": "100_000",
            "expires": f"{later:%Y-%m-%d}",
            "collaterals": f'{{ "{self.token("WETH")}" = 5 }}',
            "reserve_tokens": f'{{ "{self.token("USDC")}" = 1_000.5 }}',
            "pools": f'["{self.pool()}"]',
        }

    def token(self, symbol: str) -> Address:
        return self.chain.contracts.tokens[symbol].address

    def pool(self) -> Address:
        return self.chain.contracts.uniswap.pools[POOL].address

    def write(self, **changes: str | None) -> Path:
        terms = {key: value for key, value in {**self.terms, **changes}.items() if value}
        path = self.ground.config(self.chain.rpc_url, None)
        section = "\n".join(f"{key} = {value}" for key, value in terms.items())
        path.write_text(f"{path.read_text()}\n[mandates.main]\n{section}\n{self.sections}\n")
        return path

    async def charter(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.done("show", "--json"))["charter"]
        return found


@pytest.fixture
def owner(ground: Ground, tmp_path: Path) -> Owner:
    return Owner(ground, tmp_path)


async def test_mandate__set_on_a_new_chain__deploys_allows_and_verifies(owner: Owner) -> None:
    owner.write()
    said = await owner.done("set", "--yes")
    guardian = said.split("guardian: ")[1].split()[0]
    charter = await owner.charter()
    assert charter["owner"] == owner.one.account.address
    assert charter["mandate"]["keeper"] == owner.keeper
    assert charter["mandate"]["limit_max"] == 100_000 * 10**8
    assert charter["mandate"]["reserve"] == owner.one.account.address
    usdc = owner.chain.contracts.tokens["USDC"]
    allowance = owner.chain.read(usdc, "allowance", owner.one.account.address, guardian)
    assert allowance == 1_000_500_000
    verdicts = await owner.verdicts()
    assert "ok: its pools lead from WETH to the account's debt of USDC" in verdicts
    # Keeper would act with the account's own key: the configuration does not name the guardian yet.
    (unnamed,) = [line for line in verdicts if not line.startswith("ok")]
    assert unnamed.startswith("warn: no position of the configuration names the guardian")
    shown = await owner.done("verify")
    assert f'fix: add guardian = "{guardian}" to the [[positions]] "main"' in shown
    path = owner.write()
    named = f'signer = "main"\nguardian = "{guardian}"\n'
    path.write_text(path.read_text().replace('signer = "main"\n', named))
    assert not [line for line in await owner.verdicts() if not line.startswith("ok")]


async def test_mandate__pools_that_lead_nowhere__fail_verification(owner: Owner) -> None:
    astray = owner.chain.contracts.uniswap.pools["WBTC", "USDC", 3000].address
    owner.write(pools=f'["{astray}"]')
    await owner.done("set", "--yes")
    assert (
        "fail: none of its pools leads from collateral that it may sell to the account's debt of USDC, "
        "over 2 at most"
    ) in await owner.verdicts()


async def test_mandate__several_and_no_name__verifies_all(owner: Owner) -> None:
    other = "\n".join(f"{k} = {v}" for k, v in owner.terms.items() if k != "reserve_tokens")
    provider = owner.chain.contracts.aave.pool_addresses_provider.address
    owner.sections = (
        f'[markets.again]\nprotocol = "aave_v3"\npool_addresses_provider = "{provider}"\n'
        f"[mandates.other]\n" + other.replace('"aave"', '"again"')
    )
    owner.write()
    await owner.done("set", "main", "--yes")
    said = await owner.ground.ask("mandate", "verify", "--json")
    told = {each["name"]: each["findings"] for each in json.loads(said.output)["mandates"]}
    assert told.keys() == {"main", "other"}
    assert not [each for each in told["main"] if each["verdict"] == "fail"]


async def test_mandate__set_again__replaces_it_and_moves_the_hash(owner: Owner) -> None:
    owner.write()
    await owner.done("set", "--yes")
    first = await owner.charter()
    owner.write(max_per_day_usd="50_000", collaterals=f'{{ "{owner.token("WETH")}" = 2 }}')
    assert any("differs" in line and "limit_max" in line for line in await owner.verdicts())
    await owner.done("set", "--yes")
    second = await owner.charter()
    assert second["nonce"] == first["nonce"] + 1
    assert second["mandate_hash"] != first["mandate_hash"]
    assert not any(line.startswith("fail") for line in await owner.verdicts())


async def test_mandate__revoked__leaves_no_allowance(owner: Owner) -> None:
    owner.write()
    await owner.done("set", "--yes")
    await owner.done("revoke", "--yes")
    assert (await owner.charter())["mandate"] is None
    said = await owner.ground.ask("approvals", "--json")
    assert json.loads(said.output)["allowances"] == []


async def test_mandate__revoked_beside_another__leaves_what_both_live_on(owner: Owner) -> None:
    provider = owner.chain.contracts.aave.pool_addresses_provider.address
    other = {**owner.terms, "market": '"again"'}
    again = "\n".join(f"{key} = {value}" for key, value in other.items())
    owner.sections = (
        f'[markets.again]\nprotocol = "aave_v3"\npool_addresses_provider = "{provider}"\n'
        f"[mandates.other]\n{again}"
    )
    owner.write()
    said = await owner.done("set", "main", "--yes")
    guardian = said.split("guardian: ")[1].split()[0]
    said = await owner.done("revoke", "main", "--yes")
    usdc = owner.chain.contracts.tokens["USDC"]
    assert f"another mandate lives on it: the allowance of {usdc.address}" in said
    assert owner.chain.read(usdc, "allowance", owner.one.account.address, guardian) == 1_000_500_000
    # Two amounts for one allowance cannot both hold.
    owner.write(reserve_tokens=f'{{ "{usdc.address}" = 2_000 }}')
    text = await owner.refused("set", "main", "--yes")
    assert "both markets have one guardian" in text
    assert "mandates.other.reserve_tokens" in text


async def test_mandate__revoked_halfway__a_second_run_ends_the_allowances(owner: Owner) -> None:
    owner.write()
    said = await owner.done("set", "--yes")
    guardian = Address(said.split("guardian: ")[1].split()[0])
    mandate_only = REVOKE_MANDATE.encode(owner.chain.contracts.aave.pool_addresses_provider.address)
    owner.chain.send(owner.one.account.address, guardian, mandate_only, gas=1_000_000)
    owner.chain.mine()
    assert (await owner.charter())["mandate"] is None
    await owner.done("revoke", "--yes")
    audit = await owner.ground.ask("approvals", "--json")
    assert json.loads(audit.output)["allowances"] == []


@pytest.mark.parametrize("command", ["freeze", "unfreeze", "revoke"])
async def test_mandate__no_guardian_yet__does_not_claim_to_have_stopped_anything(
    owner: Owner, command: str
) -> None:
    owner.write()
    nonce = owner.ground.nonce(owner.one)
    assert "there is no guardian at" in await owner.refused(command, "--yes")
    assert owner.ground.nonce(owner.one) == nonce


async def test_mandate__frozen__fails_verification_until_unfrozen(owner: Owner) -> None:
    owner.write()
    await owner.done("set", "--yes")
    await owner.done("freeze", "--yes")
    assert "fail: it is frozen: nothing happens" in await owner.verdicts()
    await owner.done("unfreeze", "--yes")
    assert not any(line.startswith("fail") for line in await owner.verdicts())


async def test_mandate__other_reserve__counts_after_its_consent(owner: Owner) -> None:
    reserve = owner.chain.account("treasury")
    owner.ground.environ["KEEPER_SIGNERS__TREASURY__PRIVATE_KEY"] = reserve.private_key
    owner.sections = "[signers.treasury]"
    owner.write(reserve=f'"{reserve.address}"')
    said = await owner.done("set", "--yes")
    assert "keeper mandate consent main" in said
    assert any("has not consented" in line for line in await owner.verdicts())
    await owner.done("consent", "--yes")
    assert not any(line.startswith("fail") for line in await owner.verdicts())
    audit = json.loads((await owner.ground.ask("approvals", "--json")).output)["allowances"]
    assert (reserve.address, "USDC") in {(each["account"], each["symbol"]) for each in audit}


async def test_mandate__owner_is_a_safe__writes_one_batch_for_everything(
    owner: Owner, tmp_path: Path
) -> None:
    safe = owner.chain.account("safe").address
    owner.write(account=f'"{safe}"')
    path = tmp_path / "batch.json"
    await owner.done("set", "--safe-batch", str(path))
    document = json.loads(path.read_text())
    assert document["meta"]["createdFromSafeAddress"] == safe
    deploy, set_it, sell, use = document["transactions"]
    assert deploy["to"] == "0x4e59b44847b379578588920cA78FbF26c0B4956C"
    assert use["to"] == owner.token("USDC")
    for transaction in (deploy, set_it, sell, use):
        data = bytes.fromhex(transaction["data"][2:])
        sent = owner.chain.send(safe, transaction["to"], data, gas=10_000_000)
        owner.chain.mine()
        receipt = owner.chain.rpc.call("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1"
    assert not any(line.startswith("fail") for line in await owner.verdicts())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_health_to_act": "1.0"}, "is not above 1.0"),
        ({"target": "1.2"}, "target is below max_health_to_act"),
        ({"max_per_day_usd": "0"}, "is not above zero"),
        ({"market": '"compound"'}, "there is no [markets.compound]"),
        ({"slippage_urgent_bps": "5000"}, "SlippageAboveHalfBonus"),
        ({"slippage_calm_bps": "900"}, "slippage_calm_bps is above slippage_urgent_bps"),
        ({"expires": "2001-01-01"}, "ExpiryOutOfRange"),
        ({"expires": '"soon"'}, "is not a day"),
        ({"emergency_health": "1.02"}, "`emergency_route` is missing"),
        ({"max_hops": "4"}, "are more than the 3"),
        ({"min_action_usd": "200_000"}, "min_action_usd is above max_per_day_usd"),
        ({"pools": None}, "there are collaterals and no pools"),
        ({"kepeer": '"x"'}, "`kepeer` is not known here"),
    ],
)
async def test_mandate__cannot_be_meant__is_refused_with_its_line(
    owner: Owner, changes: dict[str, str | None], said: str
) -> None:
    owner.write(**changes)
    nonce = owner.ground.nonce(owner.one)
    text = await owner.refused("set", "--yes")
    assert said in text
    assert "keeper.toml:" in text
    assert "fix:" in text
    assert owner.ground.nonce(owner.one) == nonce


async def test_mandate__pool_that_is_none__is_refused(owner: Owner) -> None:
    owner.write(pools=f'["{owner.token("WETH")}"]')
    assert "no Uniswap v3 pool" in await owner.refused("set", "--yes")


async def test_mandate__pool_without_liquidity__is_refused(owner: Owner) -> None:
    chain, uniswap = owner.chain, owner.chain.contracts.uniswap
    sides = sorted((owner.token("WETH").lower(), owner.token("USDC").lower()))
    root = chain.read(uniswap.pools[POOL], "slot0")[0]
    chain.transact(
        chain.account("anyone").address,
        uniswap.position_manager,
        "createAndInitializePoolIfNecessary",
        *(*sides, 10_000, root),
    )
    pool = to_checksum_address(chain.read(uniswap.factory, "getPool", *sides, 10_000))
    owner.write(pools=f'["{pool}"]')
    said = await owner.refused("set", "--yes")
    assert "has no liquidity at its price" in said
    assert "name another pool of the pair" in said


async def test_mandate__pool_of_a_token_without_a_price__is_refused(owner: Owner) -> None:
    dai = owner.token("DAI")
    admin, oracle = owner.chain.account("deployer").address, owner.chain.contracts.aave.oracle
    owner.chain.transact(admin, oracle, "setAssetSources", [dai], [ZERO_ADDRESS])
    pool = owner.chain.contracts.uniswap.pools["DAI", "USDC", 100].address
    owner.write(pools=f'["{owner.pool()}", "{pool}"]')
    said = await owner.refused("set", "--yes")
    assert f"{pool} trades {dai}, which the market's oracle has no price for" in said


async def test_mandate__emergency_route_over_an_unlisted_pool__is_refused(owner: Owner) -> None:
    other = owner.chain.contracts.uniswap.pools["WETH", "USDC", 3_000].address
    owner.write(
        emergency_health="1.02",
        emergency_collateral=f'"{owner.token("WETH")}"',
        emergency_debt=f'"{owner.token("USDC")}"',
        emergency_route=f'["{other}"]',
    )
    assert "is not among the pools" in await owner.refused("set", "--yes")


async def test_mandate__pools__are_found_over_every_tier_and_hub_the_best_first(
    owner: Owner,
) -> None:
    owner.ground.settings["quoter"] = owner.chain.contracts.uniswap.quoter.address
    owner.write(pools=None, collaterals=None)
    found = json.loads(await owner.done("pools", "--json"))
    first, *others = found["routes"]
    assert (first["sells"], first["buys"]) == ("WETH", "USDC")
    assert first["pools"] == [owner.pool()]
    # 0.05 % to the pool, and next to nothing of a hundred million dollars of liquidity.
    assert 5 <= first["cost_bps"]["1/1"] <= 8
    assert {len(each["pools"]) for each in others} == {1, 2}
    assert found["pools"][0] == owner.pool()
    assert len(found["pools"]) <= 8
    costs = [each["cost_bps"]["1/1"] for each in found["routes"]]
    assert costs == sorted(costs)
    owner.write(pools=json.dumps(found["pools"]))
    await owner.done("set", "--yes")
    assert not any(line.startswith("fail") for line in await owner.verdicts())
    said = await owner.done("pools")
    assert f'pools = ["{owner.pool()}"' in said


async def test_mandate__pools_without_a_quoter__says_what_to_write(owner: Owner) -> None:
    owner.write()
    assert "no QuoterV2" in await owner.refused("pools")


async def test_mandate__more_decimals_than_the_token_has__is_refused(owner: Owner) -> None:
    owner.write(reserve_tokens=f'{{ "{owner.token("USDC")}" = 1.0000001 }}')
    assert "more than 6 decimals" in await owner.refused("set", "--yes")
