"""What a wish would come to: one dry pass of the keeper over a copy of its journal.

The same code that acts, on the same history, with nothing to sign and nothing kept.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from keeper.app import run
from keeper.config import Settings
from keeper.config.settings import PositionSettings
from keeper.model.values import PositionId
from keeper.model.wishes import Verb
from keeper.storage import views
from keeper.storage.database import open_beside, open_database
from keeper.storage.wishes import Wishes, WishView


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wished of one position."""

    position: PositionSettings
    verb: Verb
    token: str | None
    usd8: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """The decision that it would be, if the pass came so far."""

    wish: WishView
    decision: views.Explanation | None


def about(settings: Settings, position: PositionSettings) -> Settings:
    """The same for one position alone: nothing is done for the others, nor are their keys needed."""
    return replace(settings, positions=(position,))


def rehearse(settings: Settings, asked: Asked) -> Rehearsed:
    """Raises what a dry run raises."""
    with TemporaryDirectory(prefix="keeper-act-") as name:
        folder = Path(name)
        copy = folder / "journal.sqlite3"
        _copy(settings.store_path, copy)
        alone = about(settings, asked.position)
        apart = replace(
            alone,
            store_path=copy,
            # The running keeper's own stays its own.
            breakers=replace(settings.breakers, kill_file=folder / "kill"),
            systemd_socket=None,
        )
        wish_id = make_wish(copy, settings, asked)
        asyncio.run(run(apart, once=True, live=False))
        wish = wish_of(copy, wish_id)
        decision = None
        if wish.decision_id is not None:
            decision = views.explanation(copy, wish.decision_id)
        return Rehearsed(wish=wish, decision=decision)


def make_wish(journal: Path, settings: Settings, asked: Asked) -> int:
    """Into a journal that is there, beside a keeper that may be running; its id."""
    position = PositionId(
        chain_id=settings.chain.chain_id,
        market=asked.position.market,
        account=asked.position.account,
    )
    with _wishes(journal) as wishes:
        return wishes.make(
            position, verb=asked.verb, token=asked.token, usd8=asked.usd8, made_at=time.time()
        )


def wish_of(journal: Path, wish_id: int) -> WishView:
    """How it stands."""
    with _wishes(journal) as wishes:
        return wishes.view(wish_id)


def withdraw(journal: Path, wish_id: int) -> bool:
    """Whether it could be: once it is taken up it cannot."""
    with _wishes(journal) as wishes:
        return wishes.settle(wish_id, "withdrawn", "its owner waited no longer")


@contextmanager
def _wishes(journal: Path) -> Iterator[Wishes]:
    engine = open_beside(journal)
    try:
        yield Wishes(engine)
    finally:
        engine.dispose()


def _copy(journal: Path, copy: Path) -> None:
    """As it stands now, whoever writes to it; an empty one where there is none."""
    if journal.exists():
        uri = f"{journal.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(uri, uri=True)) as source,
            closing(sqlite3.connect(copy)) as made,
        ):
            source.backup(made)
    open_database(copy).dispose()
