"""A guardian's committed artifact is what its sources compile to."""

from pathlib import Path

import pytest

from tests.guardian.build import (
    ARTIFACT,
    PERP_ARTIFACT,
    PERP_SOURCE,
    SOURCE,
    SOURCES,
    artifact,
    errors,
)


@pytest.mark.parametrize(
    ("committed", "source"), [(ARTIFACT, SOURCE), (PERP_ARTIFACT, PERP_SOURCE)]
)
def test_artifact__compiled_again__is_the_same(committed: Path, source: Path) -> None:
    again = artifact(SOURCES, source)
    assert committed.read_text() == again, "run `make guardian` and commit the result"


def test_errors__declaration_that_differs_from_its_selector__is_refused() -> None:
    source = (
        "# error Odd(uint256 health, uint256 bound)\n"
        'ODD: constant(bytes4) = method_id("Odd(uint256,address)", output_type=bytes4)\n'
    )
    with pytest.raises(ValueError, match=r"Odd\(uint256,uint256\) is declared above"):
        errors(source)


def test_errors__selector_without_a_declaration__is_refused() -> None:
    source = 'ODD: constant(bytes4) = method_id("Odd(uint256)", output_type=bytes4)\n'
    with pytest.raises(ValueError, match="no `# error` line"):
        errors(source)
