"""Fits the rule of a preset or a policy file to each position that it protects."""

from collections.abc import Hashable, Sequence

import numpy as np
import structlog

from keeper.engine.outlook import Outlook
from keeper.engine.roster import Roster
from keeper.engine.watch import Snapshot
from keeper.model.reading import ReadingError
from keeper.model.units import Wad, float_from_wad
from keeper.model.values import PositionId, PositionState
from keeper.policy.settings import Policy
from keeper.policy.tailoring import PEGGED, UNKNOWN, fitted_to, known_pairs, pegged_by_terms
from keeper.storage.store import Store

log = structlog.get_logger()


class Fitting:
    """Remembers at what health each position was first seen with debt."""

    def __init__(self, roster: Roster, store: Store) -> None:
        self._roster = roster
        self._store = store
        self._written: Sequence[Policy] = [row.policy for row in roster]
        """As the configuration has them, which is where every fit begins."""
        self._starts: dict[PositionId, Wad] = {}
        self._fitted: dict[int, tuple[Wad, bool, Hashable, Hashable]] = {}

    async def begin(self, chain_id: int) -> None:
        """Take over what an earlier run saw first."""
        self._starts = await self._store.run(self._store.starts.all, chain_id)

    async def fit(self, snapshot: Snapshot, outlook: Outlook) -> bool:
        """Whether the policy of any row changed. A position that has paid its debt off starts anew
        with the next one."""
        changed = False
        for row, watched in enumerate(self._roster):
            position = snapshot.positions[row]
            if watched.rule is None or isinstance(position, ReadingError):
                continue
            start = await self._start(position, snapshot.head.timestamp)
            if start is None:
                continue
            pegged, perp = pegged_by_terms(position), None
            if position.terms_shown:
                perp = outlook.book_of(row)
                if not perp.D[:, 1:].any():
                    continue  # not read, or without a position: nothing tells what a price does to it
            sizes = None if perp is None else (perp.D.tobytes(), np.sign(perp.C).tobytes())
            exposed = (start, pegged, sizes, outlook.exposure(row))
            if self._fitted.get(row) == exposed:
                continue
            self._fitted[row] = exposed
            pair = outlook.pair_of(row, known_pairs(watched.rule))
            if pair == UNKNOWN and pegged:
                pair = PEGGED
            policy = fitted_to(watched.rule, self._written[row], pair=pair, start=start, perp=perp)
            if policy == watched.policy:
                continue
            self._roster.fit(row, policy)
            changed = True
            log.info(
                "policy.fitted",
                position=watched.label,
                policy=policy.name,
                pair=pair,
                health_at_start=float_from_wad(start),
                floor=float_from_wad(policy.floor),
                target=float_from_wad(policy.target),
            )
        return changed

    async def _start(self, position: PositionState, now: int) -> Wad | None:
        known = self._starts.get(position.id)
        if position.health is None:
            if known is not None:
                del self._starts[position.id]
                await self._store.run(self._store.starts.forget, position.id)
            return None
        if known is None:
            known = self._starts[position.id] = position.health
            await self._store.run(self._store.starts.keep, position.id, known, now)
        return known
