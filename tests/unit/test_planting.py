"""Planting a defect, and the report on what noticed it."""

from pathlib import Path

import pytest

from tests.planting import Defect, MisplacedError, chosen, plant, report

DEFECT = Defect(name="no check", file="a.py", old="check()\n", new="", tests=("test_a",))


def test_plant__place_found_once__is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("act()\ncheck()\n")
    plant(DEFECT, tmp_path)
    assert (tmp_path / "a.py").read_text() == "act()\n"


@pytest.mark.parametrize("text", ["act()\n", "check()\ncheck()\n"])
def test_plant__place_not_found_once__is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(MisplacedError, match="no check"):
        plant(DEFECT, tmp_path)
    assert (tmp_path / "a.py").read_text() == text


def test_chosen__unknown_name__is_refused_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"unknown: no such; known: no check"):
        chosen([DEFECT], ["no such"])


@pytest.mark.parametrize(("red", "code"), [(["test_a"], 0), ([], 1)])
def test_report__one_that_nothing_noticed__ends_with_1(
    capsys: pytest.CaptureFixture[str], red: list[str], code: int
) -> None:
    assert report([DEFECT], lambda _: red) == code
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("MISSED" if code else "caught")
    assert last == f"1 planted, {1 - code} caught, {code} missed"
