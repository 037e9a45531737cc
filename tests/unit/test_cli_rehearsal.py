"""What the commands that rehearse do with files."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keeper.cli.demo import app
from keeper.cli.folder import kept_with_journal


@pytest.fixture(autouse=True)
def _own_sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_demo__picture_in_no_folder__is_wrong_usage_before_anything_runs(tmp_path: Path) -> None:
    missing = tmp_path / "no"
    ended = CliRunner().invoke(app, ["--picture", str(missing / "x.png")], env={"COLUMNS": "300"})
    assert ended.exit_code == 2
    assert "there is no folder" in ended.output


def test_demo__picture_that_is_a_folder__is_wrong_usage(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["--picture", str(tmp_path)], env={"COLUMNS": "300"})
    assert ended.exit_code == 2
    assert "is a folder" in ended.output


def test_demo__picture_that_is_no_png__is_wrong_usage_before_anything_runs(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["--picture", str(tmp_path / "x.txt")], env={"COLUMNS": "300"})
    assert ended.exit_code == 2
    assert "does not end in .png" in ended.output


def test_demo__picture_of_the_hedged_pair__is_wrong_usage(tmp_path: Path) -> None:
    asked = ["--market", "both", "--picture", str(tmp_path / "x.png")]
    ended = CliRunner().invoke(app, asked, env={"COLUMNS": "300"})
    assert ended.exit_code == 2
    assert "the hedged pair has no picture" in ended.output


def test_kept_with_journal__no_keeper_ran__leaves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with kept_with_journal("keeper-test-") as folder:
        (folder / "keeper.toml").touch()
    assert not folder.exists()
    assert capsys.readouterr().err == ""


def test_kept_with_journal__a_keeper_ran__stays_and_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with kept_with_journal("keeper-test-") as folder:
        (folder / "keeper.sqlite3").touch()
    assert f"the files of this run are in {folder}" in capsys.readouterr().err
    shutil.rmtree(folder)
