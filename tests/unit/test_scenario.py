"""Scenario files: what a user may write, and what is said when it is wrong."""

from pathlib import Path

import pytest

from keeper.devnet.scenario import (
    ScenarioError,
    UnknownScenarioError,
    packaged_scenario,
    read_scenario,
)
from keeper.resources import resource

SMALL = """
name = "small"
title = "A small fall"
start = 2020-03-12T00:00:00Z
end = 2020-03-12T01:00:00Z
seed = 1
block_seconds = [[2020-03-12T00:00:00Z, 300]]
wall_seconds = 0.1
[gas]
source = "nobody"
knots = [[2020-03-12T00:00:00Z, 10]]
[assets.WETH]
source = "nobody"
volatility_per_year = [[2020-02-10T00:00:00Z, 1.0]]
knots = [[2020-02-10T00:00:00Z, 200], [2020-03-12T01:00:00Z, 100]]
"""


def problems_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "small.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_scenario(file)
    assert str(file) in str(caught.value)
    return caught.value.problems


def test_read_scenario__well_formed__is_valid(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    scenario = read_scenario(file)
    assert scenario.start == 1_583_971_200
    assert scenario.assets["WETH"].knots[0] == (1_581_292_800, 200)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("seed = 1", "seed = -1", "seed: Input should be greater than or equal to 0"),
        ("seed = 1", "sead = 1", "sead: Extra inputs are not permitted"),
        ("end = 2020-03-12T01", "end = 2020-03-11T01", "end: must be later than start"),
        (
            "end = 2020-03-12T01",
            "end = 2020-03-12T02",
            "assets.WETH.knots: the last must not lie before end",
        ),
        (
            "knots = [[2020-02-10T00:00:00Z, 200]",
            "knots = [[2020-02-11T00:00:00Z, 200]",
            "assets.WETH.knots: the first must lie at least 31 days before start, for the",
        ),
        (
            "volatility_per_year = [[2020-02-10",
            "volatility_per_year = [[2020-02-11",
            "assets.WETH.volatility_per_year: the first time must not be later than the first knot",
        ),
        (
            "[2020-03-12T01:00:00Z, 100]",
            "[2020-02-09T00:00:00Z, 100]",
            "assets.WETH.knots: times must rise: 2020-02-09T00:00:00Z does not",
        ),
        (
            "start = 2020-03-12T00:00:00Z",
            "start = 2020-03-12T00:00:00",
            "start: must be a time with its zone, such as 2020-03-12T00:00:00Z",
        ),
        ("200]", "0]", "assets.WETH.knots.0.1: Input should be greater than 0"),
        ("Z, 300]", "Z, 0.5]", "block_seconds.0.1: Input should be a valid integer"),
    ],
)
def test_read_scenario__one_fault__is_named_with_its_key(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in SMALL
    found = problems_of(tmp_path, SMALL.replace(old, new))
    assert any(one.startswith(problem) for one in found), found


def test_read_scenario__two_faults__both_are_named(tmp_path: Path) -> None:
    text = SMALL.replace("seed = 1", 'seed = "x"').replace("wall_seconds = 0.1", "wall_seconds = 0")
    keys = {one.split(":")[0] for one in problems_of(tmp_path, text)}
    assert keys == {"seed", "wall_seconds"}


def test_read_scenario__not_toml__says_where(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "name = ]")
    assert "line 1" in problem


def test_read_scenario__no_file__says_so(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="No such file"):
        read_scenario(tmp_path / "none.toml")


def test_packaged_scenario__unknown_name__lists_the_known() -> None:
    with pytest.raises(UnknownScenarioError, match="black-thursday"):
        packaged_scenario("black-friday")


@pytest.mark.parametrize("file", sorted(resource("config", "scenarios").glob("*.toml")), ids=str)
def test_packaged_scenario__every_file__is_valid_and_bears_its_name(file: Path) -> None:
    assert packaged_scenario(file.stem).name == file.stem
