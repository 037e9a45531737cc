"""The command line: what it prints where, and the exit codes that scripts rely on."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from keeper import __version__
from keeper.chain.kill_file import Confirmation, Order, confirm, order
from keeper.cli import errors, main
from keeper.cli.root import app
from keeper.cli.words import named, valued
from keeper.model.errors import ConfigurationError, Problem, TemporaryError
from keeper.model.lifecycle import State, Urgency
from keeper.model.records import (
    Attempt,
    DecisionRecord,
    Intent,
    MinedReceipt,
    Observation,
    Result,
)
from keeper.model.units import WAD, Address, Token, Wad, Wei
from keeper.model.values import PositionId, Transaction
from keeper.storage import ledger
from keeper.storage.database import open_database
from keeper.storage.journal import Journal
from keeper.storage.prospects import Prospect
from keeper.storage.store import Store
from tests.unit.journal_values import kept

ACCOUNT = Address("0x52908400098527886E0F7030069857D2E4169EE7")
USDC = Token(
    address=Address("0x8617E340B3D01FA5F11F306F4090FD50E238070D"), symbol="USDC", decimals=6
)
POSITION = PositionId(chain_id=31337, market="aave", account=ACCOUNT)
TX_HASH = "0x" + "12" * 32
KEY = "0x" + "ab12" * 16


def wad(value: float) -> Wad:
    return Wad(round(value * 1000) * WAD // 1000)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that names a journal and an RPC key that nobody has set."""
    path = tmp_path / "keeper.toml"
    path.write_text('[store]\npath = "j.sqlite3"\n[chain]\nrpc_url = "https://x/${NO_SUCH_KEY}"\n')
    return path


@pytest.fixture
def journal(config: Path) -> Journal:
    """A position that has been repaid once, and once refused."""
    engine = open_database(config.parent / "j.sqlite3")
    journal = Journal(engine)
    journal.observe([_observation()])
    approved = journal.record_decision(_decision(approved=True, reason="fewest USD to the target"))
    episode = journal.open_episode(POSITION, 100)
    intent = _intent(approved, episode)
    kept(journal, [intent])
    journal.record_mined(
        [
            MinedReceipt(
                hash=TX_HASH,
                block_number=102,
                block_hash=TX_HASH,
                succeeded=True,
                gas_used=210_000,
                effective_gas_price_wei=Wei(3 * 10**9),
            )
        ],
        {intent.key: State.MINED},
    )
    journal.record_result(
        Result(
            decision_id=approved,
            succeeded=True,
            block_number=102,
            health_after=wad(1.4),
            worsened=False,
            differences=(),
        ),
        {intent.key: State.CONFIRMED},
    )
    journal.record_decision(_decision(approved=False, reason="the limit per day is used up"))
    engine.dispose()
    return journal


def _observation() -> Observation:
    return Observation(
        position=POSITION,
        label="main",
        policy="careful",
        head_number=120,
        timestamp=1_584_010_800,
        health=wad(1.123),
        floor=wad(1.15),
        target=wad(1.4),
        breach_probability=0.0421,
        distance=0.116,
        volatility_per_year=0.9,
        forecast_model="closed form, uncalibrated",
        collateral_usd8=20_000 * 10**8,
        debt_usd8=12_345 * 10**8,
        armed=True,
        note="refused: the limit per day is used up",
    )


def _decision(*, approved: bool, reason: str) -> DecisionRecord:
    return DecisionRecord(
        position=POSITION,
        label="main",
        head_number=100,
        head_hash=TX_HASH,
        timestamp=1_584_010_800,
        cause="forecast",
        approved=approved,
        reason=reason,
        kind="Repay" if approved else None,
        amount_raw=500_250_000 if approved else None,
        token=USDC if approved else None,
        moved_usd8=50_025_000_000 if approved else None,
        health_before=wad(1.2),
        predicted_health=wad(1.4) if approved else None,
        document={
            "forecast": {"breach_probability": 0.062, "distance": float("inf")},
            "options": [
                {"kind": "Repay", "symbol": "USDC", "rejected": None, "costs": {"gas_usd": 1.5}},
                {
                    "kind": "AddCollateral",
                    "symbol": "WETH",
                    "rejected": "the reserve holds no WETH",
                },
            ],
            "limits": {"moved_today_usd": 0.0},
        },
    )


def _intent(decision_id: int, episode: int) -> Intent:
    return Intent(
        decision_id=decision_id,
        position=POSITION,
        episode=episode,
        step=0,
        signer=ACCOUNT,
        transaction=Transaction(to=USDC.address, data=b"\x01", purpose="Repay"),
        head_number=100,
        deadline_block=110,
        urgency=Urgency.ROUTINE,
        nonce=7,
        attempts=(
            Attempt(
                nonce=7,
                hash=TX_HASH,
                raw=b"\x02",
                gas_limit=250_000,
                max_fee_wei=Wei(10**10),
                priority_fee_wei=Wei(10**9),
                head_number=100,
            ),
        ),
        state=State.SIGNED,
    )


def keeper(*arguments: str | Path) -> str:
    """Standard output of a command that succeeds."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def keeper_json(*arguments: str | Path) -> Any:
    return json.loads(keeper(*arguments, "--json"))


def exit_code(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["keeper", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_version__asked__is_one_line() -> None:
    assert keeper("--version") == f"keeper {__version__}\n"


def test_status__recorded_position__shows_health_forecast_and_last_action(
    config: Path, journal: Journal
) -> None:
    shown = keeper("status", "--config", config)
    for expected in (
        "main",
        "1.123",
        "floor 1.150",
        "4.2 %",
        "liquidated at −11.0 %",  # 1 − exp(−0.116)
        "12,345.00",
        "#1 Repay 500.25 USDC",
        "1.200 → 1.400",
        "block 120, 2020-03-12 11:00:00 UTC",
        "limit per day",
        "uncalibrated",
    ):
        assert expected in shown


def test_status__json__is_one_document(config: Path, journal: Journal) -> None:
    (position,) = keeper_json("status", "--config", config)["positions"]
    assert position["label"] == "main"
    assert position["health"] == 1.123
    assert position["breach_probability"] == 0.0421
    assert position["last_action"]["id"] == 1


def test_status__keeper_starts_and_stops__says_whether_one_is_running(
    config: Path, journal: Journal
) -> None:
    stopped = "no keeper is running: this is what was last seen"
    store = Store(config.parent / "j.sqlite3")
    try:
        assert "a keeper is running" in keeper("status", "--config", config)
        assert keeper_json("status", "--config", config)["running"] is True
    finally:
        store.close()
    assert stopped in keeper("status", "--config", config)
    assert keeper_json("status", "--config", config)["running"] is False


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Order.PAUSE, "nothing is signed before `keeper resume`; watching and alerts go on"),
        (Order.KILL, "nothing is signed and no keeper starts before `keeper resume`"),
    ],
)
def test_status__owner_has_ordered_it__says_what_since_when_and_what_ends_it(
    config: Path, journal: Journal, wanted: Order, said: str
) -> None:
    kill_file = config.parent / "j.kill"
    order(kill_file, wanted)
    os.utime(kill_file, (1_584_010_800, 1_584_010_800))
    shown = " ".join(keeper("status", "--config", config).split())
    assert f"since 2020-03-12 11:00:00 UTC: {said}" in shown
    told = keeper_json("status", "--config", config)
    assert (told["order"], told["ordered_at"]) == (wanted.value, 1_584_010_800)
    order(kill_file, Order.RUN)
    assert "since" not in keeper("status", "--config", config)
    told = keeper_json("status", "--config", config)
    assert (told["order"], told["ordered_at"]) == ("run", None)


def test_status__paused_before_anything_is_recorded__says_so(config: Path) -> None:
    order(config.parent / "j.kill", Order.PAUSE)
    assert "PAUSED since" in keeper("status", "--config", config)


@pytest.mark.parametrize("live", [True, False])
def test_status__running_keeper__says_whether_it_sends(
    config: Path, journal: Journal, live: bool
) -> None:
    confirm(
        config.parent / "j.kill", Confirmation(pid=1, order=Order.RUN, since=1_000.0, live=live)
    )
    store = Store(config.parent / "j.sqlite3")
    try:
        assert ("dry run" in keeper("status", "--config", config)) is not live
        assert keeper_json("status", "--config", config)["live"] is live
    finally:
        store.close()
    # What a keeper that is gone had said does not hold any more.
    assert "dry run" not in keeper("status", "--config", config)
    assert keeper_json("status", "--config", config)["live"] is None


def test_status__prospects_of_an_earlier_block__are_told_with_it(
    config: Path, journal: Journal
) -> None:
    store = Store(config.parent / "j.sqlite3")
    try:
        store.prospects.keep([_prospect(118)])
        shown = keeper("status", "--config", config)
        assert "WETH 1,800 (block 118)" in shown
        assert "down to −20.0 % (block 118)" in shown
        assert "1 h 3.0 % (block 118)" in shown
        store.prospects.keep([_prospect(120)])
        assert "(block 1" not in keeper("status", "--config", config)
    finally:
        store.close()


def test_ledger__samples_of_a_day__are_means_and_its_extremes_include_what_was_decided(
    config: Path, journal: Journal
) -> None:
    store = Store(config.parent / "j.sqlite3")
    try:
        store.prospects.keep([_prospect(118)])
        store.prospects.keep([replace(_prospect(119), reserve_usd=2_000.0)])
    finally:
        store.close()
    (day,) = ledger.read(config.parent / "j.sqlite3", 0, 2**31).days
    # 0.03 was sampled, 0.0421 seen last, and 0.062 acted upon.
    assert day.highest_probability == 0.062
    assert day.lowest_health == 1.123
    assert (day.samples, day.mean_reserve_usd) == (2, 1_500.0)


def _prospect(block: int) -> Prospect:
    return Prospect(
        position=POSITION,
        label="main",
        head_number=block,
        timestamp=1_584_010_800,
        health=1.123,
        breach_probability=0.03,
        reserve_usd=1_000.0,
        debt_usd=12_345.0,
        collateral_usd=20_000.0,
        document={
            "block": block,
            "horizons": [{"horizon_s": 3600, "breach_probability": 0.03}],
            "assets": [{"asset": "WETH", "price": 2_000.0, "liquidation_price": 1_800.0}],
            "reserve": {
                "reserve_usd": 1_000.0,
                "held_down_to": 0.8,
                "in_deviations": None,
                "unwinds": False,
                "pays_all": False,
            },
            "margin": None,
        },
    )


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            ["status"],
            [
                "#1 Repay 500.25 USDC",
                "refused: the limit per day is used up",
                "liquidated at −11.0 %",
            ],
        ),
        (
            ["history"],
            [
                "forecast",
                "Repay 500.25 USDC",
                "done after 2 blocks",
                "the limit per day is used up",
            ],
        ),
        (["explain", "1"], [TX_HASH, "the reserve holds no WETH", "yes, to the last unit"]),
    ],
)
def test_reading__80_columns__cuts_nothing_and_pads_nothing(
    monkeypatch: pytest.MonkeyPatch,
    config: Path,
    journal: Journal,
    command: list[str],
    expected: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = keeper(*command, "--config", config)
    for words in expected:
        assert "".join(words.split()) in "".join(shown.split())
    for line in shown.splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("command", [["status"], ["history"], ["explain", "1"]])
def test_reading__output_that_takes_few_characters__prints_what_it_can(
    monkeypatch: pytest.MonkeyPatch,
    config: Path,
    journal: Journal,
    encoding: str,
    command: list[str],
) -> None:
    for options in ([], ["--json"]):
        written = io.BytesIO()
        with monkeypatch.context() as patch:
            out = io.TextIOWrapper(written, encoding=encoding, write_through=True)
            patch.setattr(sys, "stdout", out)
            assert exit_code(patch, *command, *options, "--config", config) == 0
        if options:
            # Nothing is lost to a program.
            assert json.loads(written.getvalue()) == keeper_json(*command, "--config", config)
        else:
            assert "main" in written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "the keystore cannot be read: No such file or directory"),
        ("{}", "this is not a keystore"),
        ("no JSON", "this is not a keystore"),
    ],
)
def test_init__keystore_that_is_none__is_78_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    said: str,
) -> None:
    keystore, output = tmp_path / "key.json", tmp_path / "keeper.toml"
    if content is not None:
        keystore.write_text(content)
        keystore.chmod(0o600)
    options = ("--account", ACCOUNT, "--rpc", "http://127.0.0.1:1", "--keystore", keystore)
    assert exit_code(monkeypatch, "init", *options, "--output", output) == 78
    told = capsys.readouterr().err
    assert f"--keystore {keystore}: {said}" in told
    assert "leave --keystore out" in told
    assert not output.exists()


def test_boundary__help_that_names_a_page__is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(f'{config.read_text()}id = 1\n[channels.phone]\nseverity = "warning"\n')
    monkeypatch.setenv("NO_SUCH_KEY", "x")
    monkeypatch.setenv("KEEPER_CHANNELS__PHONE__APPRISE_URL", "nosuch://service")
    assert exit_code(monkeypatch, "check", "--config", config) == 78
    assert "appriseit.com/services says for your service" in capsys.readouterr().err


def test_explain__reverted__is_not_called_as_predicted(config: Path, journal: Journal) -> None:
    with sqlite3.connect(config.parent / "j.sqlite3") as connection:
        connection.execute("UPDATE intents SET state = 'reverted'")
    shown = keeper("explain", "1", "--config", config)
    assert "reverted" in shown
    assert "as predicted" not in shown


def test_explain__no_number__says_what_an_id_is(config: Path) -> None:
    ran = CliRunner().invoke(app, ["explain", "abc", "--config", str(config)])
    assert ran.exit_code == 2
    assert "an id is a whole number" in ran.output


@pytest.mark.parametrize(("command", "key"), [("status", "positions"), ("history", "decisions")])
def test_reading__nothing_recorded__says_so_and_is_no_error(
    config: Path, command: str, key: str
) -> None:
    assert "Nothing recorded yet: start keeper run." in keeper(command, "--config", config)
    assert keeper_json(command, "--config", config)[key] == []
    assert not (config.parent / "j.sqlite3").exists()


def test_history__decisions__show_outcome_and_reason(config: Path, journal: Journal) -> None:
    shown = keeper("history", "--config", config)
    assert "Repay 500.25 USDC" in shown
    assert "1.200 → 1.400" in shown
    assert "done after 2 blocks" in shown
    assert "refused: the limit per day is used up" in shown

    first, second = keeper_json("history", "--config", config)["decisions"]
    assert first["transactions"][0]["tx_hash"] == TX_HASH
    assert (first["outcome"], second["outcome"]) == ("done", "refused")


def test_explain__decision__tells_inputs_options_and_transactions(
    config: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    shown = keeper("explain", "1", "--config", config)
    for expected in (
        "#1 main, approved: fewest USD to the target",
        "breach probability",
        "0.062",
        "the reserve holds no WETH",
        "moved today, USD",
        "gas, USD: 1.5",
        "distance to liquidation (log of the price move)",
        "1.4, at the prices of block 100",
        "1.4, at the prices of block 102",
        "as predicted",
        "what the prediction comes to at that block's own prices",
        TX_HASH,
        "3.000",
    ):
        assert expected in shown
    told = keeper_json("explain", "1", "--config", config)
    assert told["decision"]["id"] == 1
    assert told["document"]["forecast"] == {"breach_probability": 0.062, "distance": None}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("horizon_s", 86_400, ("horizon", "24 h")),
        ("cooldown_s", 300, ("cooldown", "5 min")),
        ("since_round_s", 133, ("since its last round", "133 s")),
        ("cold", {}, ("prices with too little history", "none")),
        ("oracle_gap", 0.0, ("of it on the market, not yet in the oracle", 0.0)),
        ("max_per_day_usd", 100.0, ("max per day, USD", 100.0)),
        ("timestamp", 1_584_010_800, ("timestamp", "2020-03-12 11:00:00 UTC")),
        ("trigger_probability", None, ("trigger probability", None)),
        ("reaches_target", True, ("reaches target", True)),
    ],
)
def test_words__field_of_a_decision__is_called_and_shown_as_people_do(
    name: str, value: Any, said: tuple[str, Any]
) -> None:
    assert (named(name), valued(name, value)) == said


def test_explain__unknown_id__is_one_line_and_1(config: Path, journal: Journal) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "keeper", "explain", "99", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("keeper: no decision 99 in ")
    assert len(ran.stderr.splitlines()) == 1


def test_main__no_configuration__is_78_and_points_to_the_example(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert exit_code(monkeypatch, "run", "--once") == 78
    said = capsys.readouterr()
    assert said.out == ""
    assert "config/keeper.example.toml" in said.err


@pytest.mark.parametrize(
    "arguments",
    [["run", "--private-key", KEY], ["run", f"--key={KEY[2:]}"], ["test"] * 11 + ["junk"]],
)
def test_main__secret_among_the_arguments__is_78_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert exit_code(monkeypatch, *arguments) == 78
    said = capsys.readouterr().err
    assert "command line: a" in said
    assert KEY[2:] not in said


def test_main__no_database__is_78(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
) -> None:
    (config.parent / "j.sqlite3").write_text("this is no database, whatever it may be called")
    assert exit_code(monkeypatch, "status", "--config", config) == 78
    assert "j.sqlite3: it cannot be read" in capsys.readouterr().err


def test_main__newer_database__is_78_and_says_to_upgrade(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    journal: Journal,
) -> None:
    with sqlite3.connect(config.parent / "j.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert exit_code(monkeypatch, "history", "--config", config) == 78
    assert "it has schema 9999" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match=r"(?s)written by a newer keeper.*upgrade keeper"):
        open_database(config.parent / "j.sqlite3")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError(Problem(where="w", what="x", why="y", fix="z")), 78),
        (TemporaryError("the node at https://node.example/v3/canary is down"), 75),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [TemporaryError("down")])]), 75),
        (
            ExceptionGroup(
                "tasks",
                [
                    TemporaryError("down"),
                    ConfigurationError(Problem(where="w", what="x", why="y", fix="z")),
                ],
            ),
            78,
        ),
    ],
)
def test_boundary__typed_error__ends_with_its_code_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended, errors.told():
        raise error
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith("keeper: ")
    assert "canary" not in said
    assert "Traceback" not in said
