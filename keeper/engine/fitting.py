"""Fits the rule of a preset or a policy file to each position that it protects."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import structlog

from keeper.engine.outlook import Outlook
from keeper.engine.roster import Roster
from keeper.engine.watch import Snapshot, Watched
from keeper.model.reading import ReadingError
from keeper.model.units import Wad, float_from_wad
from keeper.model.values import PositionId, PositionState
from keeper.policy.rule import Rule
from keeper.policy.settings import Policy
from keeper.policy.tailoring import PEGGED, UNKNOWN, fitted_to, known_pairs, pegged_by_terms
from keeper.storage.store import Store

log = structlog.get_logger()


def suited(
    rule: Rule, written: Policy, position: PositionState, start: Wad, outlook: Outlook, row: int
) -> tuple[str, Policy] | None:
    """A row's policy by a rule, for a position that started at this health; and the pair that it was
    taken for. None where nothing tells what a price does to a perp account: it has no position, or its
    row was not read."""
    perp = outlook.perp_of(row, position)
    if perp is not None and not perp.D[:, 1:].any():
        return None
    pair = outlook.pair_of(row, known_pairs(rule))
    if pair == UNKNOWN and pegged_by_terms(position):
        pair = PEGGED
    return pair, fitted_to(rule, written, pair=pair, start=start, perp=perp)


def in_force(
    watched: Sequence[Watched],
    snapshot: Snapshot,
    outlook: Outlook,
    starts: Mapping[PositionId, Wad],
) -> list[Watched]:
    """Each with the policy that a pass of the daemon gives it. A position of which no start is known
    starts now."""
    found = list(watched)
    for row, each in enumerate(watched):
        position = snapshot.positions[row]
        if each.rule is None or isinstance(position, ReadingError) or position.health is None:
            continue
        start = starts.get(position.id, position.health)
        if fitted := suited(each.rule, each.policy, position, start, outlook, row):
            found[row] = replace(each, policy=fitted[1])
    return found


def _exposure(position: PositionState, outlook: Outlook, row: int) -> tuple[Hashable, ...]:
    """What a fit goes by beside the start, of a perp account the sizes and sides of its positions."""
    found = pegged_by_terms(position), outlook.exposure(row)
    perp = outlook.perp_of(row, position)
    return found if perp is None else (*found, perp.D.tobytes(), np.sign(perp.C).tobytes())


class Fitting:
    """Remembers at what health each position was first seen with debt."""

    def __init__(self, roster: Roster, store: Store) -> None:
        self._roster = roster
        self._store = store
        self._written: Sequence[Policy] = [row.policy for row in roster]
        """As the configuration has them, which is where every fit begins."""
        self._starts: dict[PositionId, Wad] = {}
        self._fitted: dict[int, Hashable] = {}

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
            exposed = (start, *_exposure(position, outlook, row))
            if self._fitted.get(row) == exposed:
                continue
            self._fitted[row] = exposed
            written = self._written[row]
            fitted = suited(watched.rule, written, position, start, outlook, row)
            if fitted is None or fitted[1] == watched.policy:
                continue
            pair, policy = fitted
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
