"""`keeper init` on a local chain: from an address to a configuration that runs."""

import asyncio
import json
from pathlib import Path

import pytest

from keeper.cli import main
from keeper.config import load_settings
from keeper.config.networks import Network
from keeper.devnet.chain import LocalChain
from keeper.devnet.perp_market import PerpMarket
from keeper.model.units import WAD
from tests.devnet.keeping.ground import Ground


@pytest.fixture
def ground(chain: LocalChain, tmp_path: Path) -> Ground:
    return Ground(chain=chain, folder=tmp_path)


def init(monkeypatch: pytest.MonkeyPatch, ground: Ground, *options: str) -> int:
    provider = ground.chain.contracts.aave.pool_addresses_provider.address
    arguments = ["init", "--rpc", ground.chain.rpc_url, "--market", provider]
    output = ["--output", str(ground.folder / "keeper.toml")]
    monkeypatch.setattr("sys.argv", ["keeper", *arguments, *output, *options])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


async def test_init__account_with_a_position__writes_what_a_dry_run_runs_with(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ground.guard(health="1.10")
    # As explorers show it.
    account = one.account.address.lower()
    assert await asyncio.to_thread(init, monkeypatch, ground, "--account", account) == 0
    said = capsys.readouterr().out
    assert "10 WETH" in said
    assert "1.100" in said
    assert "keeper.toml is written: a dry run, until you say --live" in said
    following = said.partition("Next:\n")[2].splitlines()
    told = ("whether everything", "one look", "the dry run", "protects")
    assert len({line.index(what) for line, what in zip(following, told, strict=True)}) == 1

    (position,) = load_settings(ground.folder / "keeper.toml", {}).positions
    assert position.account == one.account.address
    done = await ground.ask("run", "--once")
    assert done.exit_code == 0, done.text
    (seen,) = json.loads((await ground.ask("status", "--json")).output)["positions"]
    assert (seen["label"], seen["health"]) == ("main", pytest.approx(1.10, abs=1e-3))
    assert ground.events(one) == []


async def test_init__trader_on_a_venue__is_found_with_the_markets_and_margin_that_it_uses(
    ground: Ground,
    perp: PerpMarket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trader = perp.chain.account("trader").address
    perp.deposit(trader, "WETH", WAD)
    perp.trade(trader, "vETH", quote=5_000 * WAD)
    house = perp.perp.clearing_house.address
    options = ("--account", trader, "--venue", house)
    assert await asyncio.to_thread(init, monkeypatch, ground, *options) == 0
    said = capsys.readouterr().out
    assert f"{trader} in perp" in said
    assert "notional" in said

    settings = load_settings(ground.folder / "keeper.toml", {})
    assert [(each.market, each.account) for each in settings.positions] == [("perp", trader)]
    assert settings.markets["perp"].listed == {
        "base_tokens": (perp.perp.base_tokens["vETH"].address,),
        "collateral_tokens": (perp.chain.contracts.tokens["WETH"].address,),
    }
    done = await ground.ask("run", "--once")
    assert done.exit_code == 0, done.text
    (seen,) = json.loads((await ground.ask("status", "--json")).output)["positions"]
    # `check` tells the floor that a pass goes by: of a preset's 1.25 what leaves a perp as much room.
    assert seen["health"] > seen["floor"] > 2
    checked = json.loads((await ground.ask("check", "--json")).output)
    lines = {each["topic"]: each["what"] for each in checked["lines"]}
    assert lines["position main"] == f"health {seen['health']:.3f}, floor {seen['floor']:.3f}"


def test_init__one_account_makes_the_market__the_other_ones_position_is_written(
    ground: Ground,
    perp: PerpMarket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trader, maker = (perp.chain.account(name).address for name in ("trader", "deployer"))
    perp.deposit(trader, "WETH", WAD)
    perp.trade(trader, "vETH", quote=5_000 * WAD)
    house = perp.perp.clearing_house.address
    options = ("--account", maker, "--account", trader, "--venue", house)
    assert init(monkeypatch, ground, *options) == 0
    said = capsys.readouterr()
    assert f"passed over: {maker} in perp: " in said.err
    assert "it makes the market in vETH" in said.err
    positions = load_settings(ground.folder / "keeper.toml", {}).positions
    assert [each.account for each in positions if each.market == "perp"] == [trader]
    assert "a perp with as much room" in (ground.folder / "keeper.toml").read_text()


def test_init__further_market__does_not_take_the_place_of_the_one_that_the_chain_is_known_for(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ground.guard()
    aave = ground.chain.contracts.aave
    known = Network(
        chain_id=31_337,
        name="Here",
        block_time_s=12,
        markets={"aave": aave.pool_addresses_provider.address},
    )
    monkeypatch.setattr("keeper.scouting.network", lambda _: known)
    output = ground.folder / "keeper.toml"
    arguments = ("--rpc", ground.chain.rpc_url, "--account", one.account.address)
    further = ("--market", aave.pool.address, "--output", str(output))
    monkeypatch.setattr("sys.argv", ["keeper", "init", *arguments, *further])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert f"passed over: aave ({aave.pool.address}): " in said.err
    assert ended.value.code in (None, 0), said.err
    (position,) = load_settings(output, {}).positions
    assert position.market == "aave2"


def test_init__nobody_trades_on_a_venue__is_passed_by_and_what_is_no_venue_told(
    ground: Ground,
    perp: PerpMarket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nobody = ground.chain.account("nobody").address
    wrong = ground.chain.contracts.aave.pool.address
    venues = ("--venue", perp.perp.clearing_house.address, "--venue", wrong)
    assert init(monkeypatch, ground, "--account", nobody, *venues) == 1
    said = capsys.readouterr().err
    assert f"passed over: venue2 ({wrong}): " in said
    assert "no ClearingHouse of Perp v2 answers there" in said
    assert list(ground.folder.iterdir()) == []


def test_init__account_given_twice__is_written_once(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = ground.guard().account.address
    twice = ("--account", account, "--account", account.lower())
    assert init(monkeypatch, ground, *twice) == 0
    (position,) = load_settings(ground.folder / "keeper.toml", {}).positions
    assert position.account == account


def test_init__place_that_cannot_be_written__is_named_with_what_to_do(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = ground.guard().account.address
    file = ground.folder / "file"
    file.write_text("")
    assert init(monkeypatch, ground, "--account", account, "--output", str(file / "k.toml")) == 78
    said = capsys.readouterr().err
    assert f"{file / 'k.toml'}: it cannot be written" in said
    assert "--output" in said


def test_init__folder_that_is_not_there__is_named_and_not_made(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = ground.guard().account.address
    nowhere = ground.folder / "nowhere"
    output = ("--output", str(nowhere / "k.toml"))
    assert init(monkeypatch, ground, "--account", account, *output) == 78
    assert "No such file or directory" in capsys.readouterr().err
    assert not nowhere.exists()


def test_init__file_is_there__is_replaced_only_by_name_and_kept(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ground.guard()
    path = ground.folder / "keeper.toml"
    path.write_text("# mine")
    assert init(monkeypatch, ground, "--account", one.account.address) == 78
    assert f"{path}: there is a configuration already" in capsys.readouterr().err
    assert path.read_text() == "# mine"

    assert init(monkeypatch, ground, "--account", one.account.address, "--force") == 0
    assert f"{path} is replaced; the old one is {path}.old" in capsys.readouterr().out
    assert Path(f"{path}.old").read_text() == "# mine"
    assert load_settings(path, {}).positions


def test_init__nothing_found__writes_nothing_and_says_what_was_passed_over(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = ground.chain.account("nobody").address
    wrong = ground.chain.contracts.aave.pool.address
    assert init(monkeypatch, ground, "--account", nobody, "--market", wrong) == 1
    said = capsys.readouterr().err
    assert f"passed over: market2 ({wrong}): " in said
    assert "no position was found: nothing is written" in said
    assert list(ground.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--account", "0x12"), 78, '--account: "0x12" is not an address'),
        ((), 2, "nobody is there to ask: give it"),
        (("--account", "0x" + "0" * 40), 78, "--account: this is the zero address"),
    ],
)
def test_init__no_account__is_told(
    ground: Ground,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert init(monkeypatch, ground, *options) == code
    assert said in " ".join(capsys.readouterr().err.split())
