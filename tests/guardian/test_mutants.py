"""A few of the planted defects; `make guardian-mutants` plants all."""

import re

import pytest

from tests.guardian.build import SOURCES
from tests.guardian.defects import DEFECTS
from tests.guardian.mutants import HERE, red_with
from tests.guardian.perp_defects import PERP_DEFECTS

ALL = (*DEFECTS, *PERP_DEFECTS)
QUICK = ("callback-from-anyone", "limit-refilled-when-set-again", "perp-any-price")


@pytest.mark.parametrize("name", QUICK)
def test_defect__planted__is_noticed(name: str) -> None:
    (defect,) = (defect for defect in ALL if defect.name == name)
    assert red_with(defect, defect.tests[:1]) == list(defect.tests[:1])


def test_defects__each__has_its_place_once_and_tests_that_exist() -> None:
    names = [defect.name for defect in ALL]
    assert len(set(names)) == len(names) >= 14
    for defect in ALL:
        assert (SOURCES / defect.file).read_text().count(defect.old) == 1, defect.name
        for test in defect.tests:
            file, _, function = test.partition("::")
            assert re.search(rf"def {function or 'test_'}", (HERE / file).read_text()), test
