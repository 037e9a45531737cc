"""A drill on a fork of the local chain: who would have been saved, and what is left untouched."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keeper.backtest.policies import save
from keeper.cli import main
from keeper.devnet.chain import LocalChain
from keeper.policy.policy_file import PolicyFile
from keeper.policy.rule import Rule
from tests.devnet.keeping.ground import Ground
from tests.devnet.keeping.ward import ward
from tests.devnet.test_fork import footprint

ENVIRON = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}


def drilled(config: Path, *arguments: str, **user: str) -> tuple[int, Any, str]:
    """`keeper drill --json` in a process of its own: its exit code, its document, and what it says
    beside it."""
    done = subprocess.run(
        [sys.executable, "-m", "keeper", "drill", "--json", "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        env=ENVIRON | user,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_drill__one_with_a_reserve_and_one_without__tells_who_is_saved_and_at_what_cost(
    chain: LocalChain, tmp_path: Path
) -> None:
    origin = Ground(chain=chain, folder=tmp_path)
    origin.settings["wrapped_native"] = chain.contracts.tokens["WETH"].address
    rich = origin.guard("rich", health="1.30")
    poor = origin.guard("poor", health="1.30", wallet={})
    config = origin.config(chain.rpc_url, chain.ws_url)
    # A keystore that does not exist and a key that is none: whoever reads them fails.
    config.write_text(
        config.read_text().replace("[signers.rich]", '[signers.rich]\nkeystore = "nowhere.json"')
    )
    before = [footprint(chain, one) for one in (rich, poor)]
    code, told, said = drilled(config, "--drop", "30", "--over", "6m", KEEPER_PRIVATE_KEY="no key")
    assert told, said
    assert code == 1
    saved, lost = told["positions"]
    # Prices fall to 70 %: 1.30 × 0.7 = 0.91.
    for each in (saved, lost):
        assert each["health"]["start"] == pytest.approx(1.30, abs=1e-3)
        assert each["health"]["without_keeper"] == pytest.approx(0.91, abs=1e-3)
    assert (saved["label"], saved["verdict"], saved["liquidation_loss_usd"]) == ("rich", "saved", 0)
    assert saved["health"]["lowest"] > 1
    assert saved["actions"] >= 2
    assert 0 < saved["cost_usd"] < 50
    assert saved["moved_usd"] > 1_000
    assert (lost["label"], lost["verdict"], lost["actions"]) == ("poor", "liquidated", 0)
    # Of half a debt of 14,478 dollars, 5 % at least.
    assert lost["liquidation_loss_usd"] > 300
    assert "the reserve holds no USDC" in lost["last_refusal"]
    assert told["late_blocks"] == 0
    assert [footprint(chain, one) for one in (rich, poor)] == before
    assert not origin.journal.exists()


def test_drill__a_guardian_without_reserve__unwinds_while_the_pools_fall_too(
    chain: LocalChain, tmp_path: Path
) -> None:
    origin = Ground(chain=chain, folder=tmp_path)
    one = ward(origin, health="1.30")
    config = origin.config(chain.rpc_url, chain.ws_url)
    before = footprint(chain, one)
    code, told, said = drilled(config, "--drop", "35", "--over", "6m")
    assert code == 0, said
    (saved,) = told["positions"]
    assert saved["verdict"] == "saved"
    assert saved["account"] == one.account.address
    assert saved["health"]["without_keeper"] < 1
    assert saved["actions"] >= 1
    assert saved["cost_usd"] == pytest.approx(saved["gas_usd"] + saved["swap_usd"])
    assert told["pools_not_moved"] == []
    assert footprint(chain, one) == before


def test_drill__policy_file_beside_the_configuration__is_what_it_plays(
    chain: LocalChain, tmp_path: Path
) -> None:
    origin = Ground(chain=chain, folder=tmp_path)
    origin.guard("own", health="1.30", floor=None, target=None, file="mine.json")
    # 1.30 × 0.92 = 1.196: below this file's floor, and above where `watchful` and `thrifty` act.
    rule = Rule(floor=1.22, target=1.5, scaled_to_start=False)
    mine = PolicyFile(id="mine", about="Mine.", default=False, rule=rule, fitted=None)
    save(mine, tmp_path / "mine.json")
    code, told, said = drilled(
        origin.config(chain.rpc_url, chain.ws_url), "--drop", "8", "--over", "2m"
    )
    assert code == 0, said
    (saved,) = told["positions"]
    assert saved["actions"] == 1
    # Restored to 1.5 below 1.22, and a fall of 2 % at most from there to 1.196.
    assert 1.5 * 0.98 <= saved["health"]["end"] <= 1.5


# -- wrong input -----------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """The exit code of `keeper drill` and what it says on standard error."""
    terminated = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["keeper", "drill", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert isinstance(ended.value.code, int)
        return ended.value.code, " ".join(said.err.replace("│", "").split())

    yield run
    signal.signal(signal.SIGTERM, terminated)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--drop", "0"], "Invalid value for '--drop': 0 % is no fall that can be rehearsed"),
        (["--drop", "-5"], "give more than 0 and at most 99"),
        (["--drop", "99.5"], "99.5 % is no fall that can be rehearsed"),
        (["--drop", "nan"], "nan % is no fall that can be rehearsed"),
        (["--drop", "30", "--over", "2"], "Invalid value for '--over'"),
        (["--drop", "30", "--over", "8d"], "a drill takes a week at most"),
        ([], "Missing option '--drop'"),
    ],
)
def test_drill__wrong_usage__is_2(told: Any, arguments: list[str], message: str) -> None:
    code, said = told(*arguments)
    assert code == 2
    assert message in said


def test_drill__no_configuration__is_78(told: Any, tmp_path: Path) -> None:
    code, said = told("--drop", "30", "--config", str(tmp_path / "none.toml"))
    assert code == 78
    assert "none.toml" in said
