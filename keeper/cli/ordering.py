"""An order to the keeper, given by the kill file and waited for until it is confirmed."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import typer

from keeper.chain.kill_file import Confirmation, Order, confirmed, order, ordered
from keeper.cli.output import show
from keeper.config import default_path, kill_file_path, store_path
from keeper.model.errors import ConfigurationError, Problem
from keeper.storage import views
from keeper.storage.store import running

T = TypeVar("T")

CONFIRM_S = 10.0
"""A keeper looks once a second."""
END_S = 20.0
"""It ends where it stands; alerts on their way are let get out."""
POLL_S = 0.05

WAITING = ("signed", "broadcast")
"""States of a transaction that a node may have and no block has."""

SAID = {
    Order.RUN: "the keeper may sign again",
    Order.PAUSE: "nothing more is signed; watching and alerts go on until `keeper resume`",
    Order.KILL: "nothing more is signed, and the keeper does not start before `keeper resume`",
}


def give(wanted: Order, config: Path | None) -> None:
    """Raises `ConfigurationError` where the kill file cannot be written, and `typer.Exit` where a
    running keeper does not confirm."""
    path = config or default_path()
    kill_file, journal = kill_file_path(path), store_path(path)
    before = ordered(kill_file)
    given_at = time.time()
    try:
        order(kill_file, wanted)
    except OSError as error:
        raise ConfigurationError(
            Problem(
                where=str(kill_file),
                what=f"the kill file cannot be changed: {error.strerror}",
                why="it is what the keeper looks at before each signature",
                fix="run this as a user who may write its folder, such as the keeper's own",
            )
        ) from None
    print(f"{kill_file}: {SAID[wanted]}")
    if running(journal) is False:
        _nobody(wanted, before)
    elif wanted is Order.KILL:
        _ended(journal)
    else:
        _confirmed(kill_file, wanted, given_at if before is not wanted else 0.0)
    if wanted is not Order.RUN:
        _tell_of_waiting(journal)


def _nobody(wanted: Order, before: Order) -> None:
    print("no keeper is running" + (": start it" if Order.KILL in (wanted, before) else ""))


def _confirmed(kill_file: Path, wanted: Order, since: float) -> None:
    def seen() -> Confirmation | None:
        said = confirmed(kill_file)
        fits = said is not None and said.order is wanted and said.since >= since
        return said if fits else None

    said = _within(CONFIRM_S, seen)
    if said is None:
        print(
            f"keeper: it was not confirmed within {CONFIRM_S:.0f} s. The file is looked at before "
            "each signature all the same; `keeper status` and the log tell whether the keeper is "
            "stuck",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    print(f"confirmed by the running keeper (process {said.pid}) at {_clock(said.since)}")


def _ended(journal: Path) -> None:
    if not _within(END_S, lambda: running(journal) is not True):
        print(
            f"keeper: it has not ended within {END_S:.0f} s; it signs nothing, and SIGKILL does not "
            "harm its journal",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    print("confirmed: the keeper has ended")


def _tell_of_waiting(journal: Path) -> None:
    if not journal.exists():
        return
    waiting = [
        f"  {each.purpose} with nonce {each.nonce}: {each.tx_hash}"
        for decision in views.history(journal)
        for each in decision.transactions
        if each.state in WAITING
    ]
    if waiting:
        print("signed before, and may still be mined:")
        show("\n".join(waiting))


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S} UTC"


def _within(patience_s: float, look: Callable[[], T]) -> T:
    deadline = time.monotonic() + patience_s
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return seen
