"""Whether a keeper is running, whether it sends, and what its owner has ordered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keeper.cli.output import utc

RUNNING = {
    True: "[green]a keeper is running[/green]",
    False: "[bold yellow]no keeper is running: this is what was last seen[/bold yellow]",
    None: "[yellow]whether a keeper is running cannot be told: its lock may not be read[/yellow]",
}
DRY_RUN = ", [bold yellow]in a dry run: it sends nothing (keeper run --live sends)[/bold yellow]"
ORDERED = {
    "pause": "PAUSED {since}: nothing is signed before `keeper resume`; watching and alerts go on",
    "kill": "KILLED {since}: nothing is signed and no keeper starts before `keeper resume`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Of one configuration's keeper."""

    running: bool | None
    """None where its lock may not be read."""
    live: bool | None
    """Whether it sends; None where none is running, or it has not said so yet."""
    order: str
    """`run`, `pause` or `kill`."""
    ordered_at: int | None
    """Since when, in Unix seconds, where it is not `run` and the kill file tells."""

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "running": self.running,
            "live": self.live,
            "order": self.order,
            "ordered_at": self.ordered_at,
        }

    def said(self) -> str:
        """For people: what keeps it from acting first."""
        lines = [RUNNING[self.running] + (DRY_RUN if self.live is False else "")]
        if self.order in ORDERED:
            since = "" if self.ordered_at is None else f"since {utc(self.ordered_at)} UTC"
            lines.insert(0, f"[bold red]{ORDERED[self.order].format(since=since)}[/bold red]")
        return "\n".join(lines)


def keeping(journal: Path, kill_file: Path) -> Keeping:
    """As it stands now."""
    from keeper.chain.kill_file import Order, confirmed, ordered
    from keeper.storage.store import running

    order, runs, said = ordered(kill_file), running(journal), confirmed(kill_file)
    return Keeping(
        running=runs,
        live=said.live if runs and said is not None else None,
        order=order.value,
        ordered_at=None if order is Order.RUN else _written_at(kill_file),
    )


def _written_at(kill_file: Path) -> int | None:
    try:
        return int(kill_file.lstat().st_mtime)
    except OSError:
        return None
