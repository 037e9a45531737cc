"""The kill file: while it exists nothing is signed. Beside it, the keeper says that it has seen it.

What stands in it tells a pause from a kill; any other content, as of an empty file that somebody
made by hand, is a pause.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class Order(Enum):
    """What the owner wants of the keeper."""

    RUN = "run"
    PAUSE = "pause"
    """Sign nothing, and watch on."""
    KILL = "kill"
    """Sign nothing, end, and do not start again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a keeper does, by its own word."""

    pid: int
    order: Order
    since: float
    """Unix seconds."""
    live: bool
    """Whether it sends; otherwise it is a dry run."""


def ordered(path: Path) -> Order:
    """What the kill file says. What is there and cannot be read is a pause, as it is for whoever
    is about to sign (`breakers.killed`)."""
    try:
        path.lstat()
    except FileNotFoundError:
        return Order.RUN
    except OSError:
        return Order.PAUSE
    try:
        written = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Order.PAUSE
    return Order.KILL if written.split()[:1] == [Order.KILL.value] else Order.PAUSE


def order(path: Path, wanted: Order) -> None:
    """Write the kill file, or take it away. Raises `OSError`."""
    if wanted is Order.RUN:
        path.unlink(missing_ok=True)
        return
    # Replaced at once: it is never there without its word.
    draft = path.with_name(path.name + ".new")
    draft.write_text(f"{wanted.value}\n", encoding="utf-8")
    draft.replace(path)


def confirm(path: Path, confirmation: Confirmation) -> None:
    """Say what is done. Raises `OSError`."""
    said = {
        "pid": confirmation.pid,
        "order": confirmation.order.value,
        "since": confirmation.since,
        "live": confirmation.live,
    }
    draft = _beside(path).with_name(_beside(path).name + ".new")
    draft.write_text(json.dumps(said) + "\n", encoding="utf-8")
    draft.replace(_beside(path))


def confirmed(path: Path) -> Confirmation | None:
    """The last that a keeper said; None where none did, or nobody may read it."""
    try:
        said: Mapping[str, Any] = json.loads(_beside(path).read_text(encoding="utf-8"))
        return Confirmation(
            pid=int(said["pid"]),
            order=Order(said["order"]),
            since=float(said["since"]),
            live=bool(said["live"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def withdraw(path: Path) -> None:
    """The keeper ends: what it said does not hold any more."""
    _beside(path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".seen")
