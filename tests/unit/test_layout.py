"""A table is whole or stacked, and loses nothing either way."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keeper.layout import Uncut


def shown(width: int, *, least: int = 0) -> str:
    table = Table(title="Costs")
    for head in ("policy", "mean USD", "p99", "note"):
        table.add_column(head)
    table.add_row("fixed_guard_at_once_1.25_1.40", "1,234,567", Text("-12.5 %"), "")
    console = Console(file=StringIO(), width=width)
    console.print(Uncut(table, least))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [30, 45, 60, 80, 200])
def test_uncut__any_width__shows_every_cell_whole(width: int) -> None:
    told = shown(width)
    for said in ("Costs", "fixed_guard_at_once_1.25_1.40", "1,234,567", "-12.5 %"):
        assert said in told
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= width


def test_uncut__narrow__fills_lines_and_leaves_empty_cells_out() -> None:
    assert shown(40) == (
        "Costs\nfixed_guard_at_once_1.25_1.40\n  mean USD 1,234,567 · p99 -12.5 %\n"
    )
    assert shown(30).endswith("  mean USD 1,234,567\n  p99 -12.5 %\n")


def test_uncut__below_its_least_width__is_stacked_though_it_would_fit() -> None:
    assert "mean USD 1,234,567" not in shown(100)
    assert "mean USD 1,234,567" in shown(100, least=110)
