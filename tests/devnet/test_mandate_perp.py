"""`keeper mandate` for perps: an owner sets up a guardian of positions on the real contracts."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keeper.devnet.artifacts import Contract
from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import WAD, Address
from tests.devnet.keeping.commands import Commands
from tests.devnet.keeping.ground import Ground

USDC = 10**6
POLICY = """\
[policies.perp]
floor = 1.3
target = 1.5
max_per_action_usd = 100_000
max_per_day_usd = 200_000
"""


class PerpOwner(Commands):
    """A trader who writes a mandate and runs commands with the account's own key."""

    def __init__(self, ground: Ground, perp: PerpMarket) -> None:
        super().__init__(ground)
        self.perp = perp
        self.account = ground.chain.account("owner")
        perp.deposit(self.account.address, "USDC", 2_000 * USDC)
        perp.trade(self.account.address, "vETH", quote=10_000 * WAD)
        ground.environ["KEEPER_SIGNERS__OWNER__PRIVATE_KEY"] = self.account.private_key
        later = datetime.fromtimestamp(ground.chain.timestamp(), UTC) + timedelta(days=100)
        self.terms: dict[str, Any] = {
            "account": f'"{self.account.address}"',
            "market": '"perp"',
            "keeper": f'"{ground.chain.account("bot").address}"',
            "max_health_to_act": "1.50",
            "target": "1.53",
            "max_per_day_usd": "100_000",
            "expires": f"{later:%Y-%m-%d}",
            "base_tokens": f'["{self.base("vETH")}"]',
            "reserve_tokens": f'{{ "{self.token("USDC")}" = 1_000.5 }}',
        }

    def base(self, symbol: str) -> Address:
        return self.perp.perp.base_tokens[symbol].address

    def token(self, symbol: str) -> Address:
        return self.chain.contracts.tokens[symbol].address

    def lend(self) -> None:
        """Some dollars in the Aave market, against half an ether."""
        self.chain.open_position(
            self.account.address, collateral={"USDC": 5_000 * USDC}, debt={"WETH": WAD // 2}
        )
        self.terms["move"] = (
            '{ market = "aave", floor = 1.60, max_per_day_usd = 2_000, allowance = 3_000 }'
        )

    def write(self, **changes: str | None) -> None:
        terms = {key: value for key, value in {**self.terms, **changes}.items() if value}
        section = "\n".join(f"{key} = {value}" for key, value in terms.items())
        position = (
            f'[[positions]]\nlabel = "long"\nmarket = "perp"\naccount = "{self.account.address}"\n'
            'policy = "perp"\nsigner = "owner"\n'
        )
        self.ground.sections = [
            self.perp.toml(),
            f"{POLICY}[signers.owner]\n{position}[mandates.main]\n{section}\n",
        ]
        self.ground.config(self.chain.rpc_url, None)

    def delegated(self, guardian: str) -> bool:
        approval, owner = self.perp.perp.delegate_approval, self.account.address
        return bool(self.chain.read(approval, "canOpenPositionFor", owner, guardian))


@pytest.fixture
def owner(ground: Ground, perp: PerpMarket) -> PerpOwner:
    return PerpOwner(ground, perp)


async def test_mandate__perp_market_set_and_revoked__delegates_and_leaves_nothing(
    owner: PerpOwner,
) -> None:
    owner.write()
    said = await owner.done("mandate", "set", "--yes")
    guardian = said.split("guardian: ")[1].split()[0]
    charter = json.loads(await owner.done("mandate", "show", "--json"))["charter"]
    assert charter["mandate"]["collaterals"] == [owner.base("vETH")]
    assert charter["mandate"]["slippage_urgent_bps"] == 125
    assert charter["mandate"]["reserve"] == owner.account.address
    assert owner.delegated(guardian)
    assert "may make smaller" in await owner.done("mandate", "show")
    verdicts = await owner.verdicts()
    assert any("delegated to the guardian, which makes them smaller" in one for one in verdicts)
    assert not any(one.startswith("fail") for one in verdicts)
    await owner.done("mandate", "revoke", "--yes")
    assert not owner.delegated(guardian)
    left = json.loads(await owner.done("approvals", "--json"))
    taken = {each["spender"] for each in left["allowances"]}
    assert guardian not in taken
    assert left["delegations"] == []


async def test_mandate__delegation_taken_back__verify_fails_and_set_mends_it(
    owner: PerpOwner,
) -> None:
    owner.write()
    said = await owner.done("mandate", "set", "--yes")
    guardian = said.split("guardian: ")[1].split()[0]
    owner.chain.transact(
        owner.account.address, owner.perp.perp.delegate_approval, "revoke", guardian, 1
    )
    assert any(
        one.startswith("fail: positions are not delegated") for one in await owner.verdicts()
    )
    await owner.done("mandate", "set", "--yes")
    assert owner.delegated(guardian)


async def test_approvals__delegated_positions__are_listed_and_revoked(owner: PerpOwner) -> None:
    owner.write()
    stranger = owner.chain.account("stranger").address
    approval = owner.perp.perp.delegate_approval
    owner.chain.transact(owner.account.address, approval, "approve", stranger, 1)
    (found,) = json.loads(await owner.done("approvals", "--json"))["delegations"]
    assert (found["account"], found["market"], found["delegate"]) == (
        *(owner.account.address, "perp"),
        stranger,
    )
    assert "may open, grow and turn positions" in await owner.done("approvals")
    await owner.done(*found["revoke"].split()[1:], "--yes")
    assert not owner.delegated(stranger)


async def test_approvals__what_is_configured_is_no_venue__is_named(owner: PerpOwner) -> None:
    owner.write()
    wrong = owner.chain.contracts.aave.pool.address
    path = owner.ground.folder / "keeper.toml"
    path.write_text(path.read_text().replace(owner.perp.perp.clearing_house.address, wrong))
    stranger = owner.chain.account("stranger").address
    ending = ("approvals", "undelegate", owner.account.address, "perp", stranger, "--yes")
    for command in (("approvals",), ending):
        text = await owner.refused(*command)
        assert f"[markets.perp] ClearingHouse {wrong}" in text
        assert "no ClearingHouse of Perp v2 answers there" in text


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("base_tokens", '["{weth}"]', "none of the markets that [markets.perp] lists"),
        ("reserve_tokens", '{{ "{weth}" = 1 }}', "pays in the venue's settlement token alone"),
        ("pools", '["{weth}"]', "a mandate for perp_v2 has no `pools`"),
        ("slippage_urgent_bps", "126", "SlippageAboveHalfBonus"),
        (
            "move",
            '{{ market = "aave", floor = 1.6, max_per_day_usd = 900, allowance = 0.00000001 }}',
            "has more than 6 decimals",
        ),
    ],
)
async def test_mandate__what_a_perp_market_does_not_have__is_refused_by_its_line(
    owner: PerpOwner, key: str, value: str, said: str
) -> None:
    owner.write(**{key: value.format(weth=owner.token("WETH"))})
    text = await owner.refused("mandate", "set", "--yes")
    assert said in text
    assert key in text


async def test_mandate__margin_from_a_loan__is_allowed_shown_changed_and_ended(
    owner: PerpOwner,
) -> None:
    owner.lend()
    owner.write()
    said = await owner.done("mandate", "set", "--yes")
    guardian = said.split("guardian: ")[1].split()[0]
    source = json.loads(await owner.done("mandate", "show", "--json"))["charter"]["source"]
    assert source["market"] == owner.chain.contracts.aave.pool_addresses_provider.address
    assert source["floor"] == 16 * WAD // 10
    assert source["limit_max"] == source["available"] == 2_000 * 10**8
    assert 2_000 * USDC < source["spare"] <= 3_000 * USDC
    shown = await owner.done("mandate", "show")
    assert "down to health 1.6000 there" in shown
    verdicts = await owner.verdicts()
    assert "ok: margin may be moved as the configuration says" in verdicts
    assert not any(one.startswith("fail") for one in verdicts)
    # Another floor is another configuration, which `set` makes true.
    owner.write(move=owner.terms["move"].replace("1.60", "1.70"))
    assert any(
        one.startswith("fail: what margin may be moved differs") for one in await owner.verdicts()
    )
    await owner.done("mandate", "set", "--yes")
    assert "ok: margin may be moved as the configuration says" in await owner.verdicts()
    # Without the section nothing may be moved any more.
    owner.write(move=None)
    assert any(
        one.startswith("fail: margin may be moved, which the configuration does not want")
        for one in await owner.verdicts()
    )
    await owner.done("mandate", "set", "--yes")
    assert json.loads(await owner.done("mandate", "show", "--json"))["charter"]["source"] is None
    owner.write()
    assert any(one.startswith("fail: margin may not be moved") for one in await owner.verdicts())
    await owner.done("mandate", "set", "--yes")
    await owner.done("mandate", "revoke", "--yes")
    left = json.loads(await owner.done("approvals", "--json"))
    assert guardian not in {each["spender"] for each in left["allowances"]}
    charter = json.loads(await owner.done("mandate", "show", "--json"))["charter"]
    assert (charter["mandate"], charter["source"]) == (None, None)


async def test_mandate__source_that_cannot_be_read__is_told_and_ended_all_the_same(
    owner: PerpOwner,
) -> None:
    owner.lend()
    owner.write()
    await owner.done("mandate", "set", "--yes")
    # An oracle without a price: the guardian can reckon nothing.
    owner.chain.set_price("USDC", 0)
    owner.write(move=None)
    charter = json.loads(await owner.done("mandate", "show", "--json"))["charter"]
    assert (charter["source"], charter["source_unread"]) == (None, True)
    assert "cannot be read now" in await owner.done("mandate", "show")
    assert any(
        one.startswith("fail: how much margin may be moved cannot be read")
        for one in await owner.verdicts()
    )
    await owner.done("mandate", "revoke", "--yes")
    owner.chain.set_price("USDC", 10**8)
    found = json.loads(await owner.done("mandate", "show", "--json"))["charter"]
    assert (found["source"], found["source_unread"]) == (None, False)


async def test_mandate__two_venues_that_share_what_is_lent__one_revoked_leaves_the_allowance(
    owner: PerpOwner,
) -> None:
    owner.lend()
    owner.write()
    said = await owner.done("mandate", "set", "--yes")
    guardian = Address(said.split("guardian: ")[1].split()[0])
    other = {**owner.terms, "market": '"again"'}
    section = "\n".join(f"{key} = {value}" for key, value in other.items())
    venue = owner.perp.toml().replace("[markets.perp]", "[markets.again]")
    owner.ground.sections += [f"{venue}[mandates.other]\n{section}\n"]
    owner.ground.config(owner.chain.rpc_url, None)
    said = await owner.done("mandate", "revoke", "main", "--yes")
    assert "another mandate lives on it" in said
    aave = owner.chain.contracts.aave
    lent = owner.chain.read(aave.pool, "getReserveData", owner.token("USDC"))[8]
    usdc = owner.chain.contracts.tokens["USDC"]
    a_token = Contract(address=lent, interface=usdc.interface)
    left = owner.chain.read(a_token, "allowance", owner.account.address, guardian)
    assert left == 3_000 * USDC
