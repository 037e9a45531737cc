"""An HTML page that needs no other file."""

import base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Final

STYLE: Final = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-size:13px}th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #ddd}
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}tr.default{background:#e8f6f1}
td.short{color:#b00020;font-weight:bold}td{white-space:nowrap}img{max-width:100%}"""


def write_page(path: Path, title: str, sections: Iterable[str]) -> None:
    """Write it; the sections are HTML."""
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{STYLE}</style>{''.join(sections)}</html>",
        encoding="utf-8",
    )


def image(png: bytes, says: str) -> str:
    """A picture within the page."""
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(says)}" src="data:image/png;base64,{data}">'


def table(heads: Sequence[str], lines: Iterable[tuple[bool, Sequence[str]]]) -> str:
    """Rows of text cells, each with whether it is the default's."""
    rows = "".join(
        f"<tr{' class=default' * default}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for default, cells in lines
    )
    return f"<table><tr>{''.join(f'<th>{escape(head)}</th>' for head in heads)}</tr>{rows}</table>"


def day(moment: float) -> str:
    """A date, UTC."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
