"""The planted defects can still be planted, and what should notice them exists."""

import pytest

from tests.faults.lines import LINES
from tests.faults.mutants import MUTANTS, ROOT
from tests.faults.registry import sample
from tests.planting import Defect


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant__its_place__is_in_the_code_once(mutant: Defect) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new
    assert set(mutant.tests) <= LINES.keys()


def test_sample__a_seed__draws_the_same_quick_lines_from_every_family() -> None:
    drawn = sample(12, seed=3)
    assert drawn == sample(12, seed=3)
    assert len(set(drawn)) == 12
    assert all(LINES[name].quick for name in drawn)
    assert {LINES[name].family for name in drawn} == {each.family for each in LINES.values()}
