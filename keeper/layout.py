"""Tables of which no terminal cuts a figure."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNBOUNDED = 10_000
INDENT = "  "
BETWEEN = " · "
PROSE = 30
"""Columns that wrapped words are given at least."""


@dataclass(frozen=True, slots=True)
class Uncut:
    """The table where it fits; else each row by itself: the first cell, and below it the others with
    their heads. Cells are words or `Text`. It takes the table over."""

    table: Table
    least: int = 0
    """Columns of a terminal below which it is never a table."""
    prose: str | None = None
    """The head of the one column that may be wrapped."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        # rich narrows every column that may wrap, however short its words are.
        for column in self.table.columns:
            column.no_wrap = column.header != self.prose
        whole = options.update(max_width=UNBOUNDED)
        needed = Measurement.get(console, whole, self.table).maximum
        for column in self.table.columns:
            if column.header == self.prose:
                needed -= max(0, max(cell_len(str(cell)) for cell in column.cells) - PROSE)
        if options.max_width >= max(needed, self.least):
            yield self.table
            return
        if self.table.title:
            yield Text(str(self.table.title), style="bold")
        heads = [str(column.header) for column in self.table.columns][1:]
        for name, *cells in zip(*(column.cells for column in self.table.columns), strict=True):
            yield Text(str(name), style="bold")
            said = ((head, cell) for head, cell in zip(heads, cells, strict=True) if str(cell))
            pieces = [Text.assemble(f"{head} ", cell) for head, cell in said]
            yield from _filled(pieces, options.max_width)


def _filled(pieces: list[Text], width: int) -> Iterator[Text]:
    """As many of them on a line as go there whole."""
    line = Text(INDENT)
    for piece in pieces:
        begun = line.cell_len > len(INDENT)
        if begun and line.cell_len + len(BETWEEN) + piece.cell_len > width:
            yield line
            line, begun = Text(INDENT), False
        line.append(BETWEEN if begun else "")
        line.append_text(piece)
    yield line
