"""Owners' wishes: which rows a pass plans for by hand, and what came of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf

from keeper.engine.scribe import Written
from keeper.model.units import WAD, Wad
from keeper.model.values import ActionKind, PositionId, Way
from keeper.model.wishes import Verb, Wish
from keeper.policy.consider import kind_of
from keeper.policy.settings import Policy
from keeper.storage.store import Store

MEANT: Mapping[Verb, frozenset[ActionKind]] = {
    "topup": frozenset({"AddCollateral", "AddMargin", "MoveMargin"}),
    "repay": frozenset({"Repay"}),
    "deleverage": frozenset({"Deleverage", "ReducePosition"}),
}
NO_END = Wad(10**6 * WAD)
"""A health that no action reaches: the amount alone ends it."""


class Wishing:
    """Looks for wishes at the end of a pass, for the next one: no pass waits for them."""

    def __init__(
        self,
        *,
        rows: Mapping[PositionId, int],
        store: Store,
        chain_id: int,
        now: Callable[[], float],
    ) -> None:
        """`now`: this machine's clock, Unix seconds."""
        self._rows = rows
        self._store = store
        self._chain_id = chain_id
        self._now = now
        self.by_row: dict[int, Wish] = {}
        """The oldest of each row."""

    async def look(self) -> None:
        """What is wished now."""
        self.by_row = {}
        for wish in await self._store.run(self._store.wishes.open, self._chain_id, self._now()):
            row = self._rows.get(wish.position)
            if row is None:
                await self._settle(wish, "refused", "this keeper does not watch the position")
            else:
                self.by_row.setdefault(row, wish)

    async def settle(self, written: Mapping[int, Written]) -> None:
        """Those that a pass has decided about; the others wait for the next."""
        for row, wish in self.by_row.items():
            found = written.get(row)
            if found is not None:
                state = "taken" if found.approved else "refused"
                await self._settle(wish, state, found.reason, found.decision_id)
        await self.look()

    async def _settle(
        self, wish: Wish, state: str, reason: str, decision_id: int | None = None
    ) -> None:
        await self._store.run(self._store.wishes.settle, wish.id, state, reason, decision_id)


def wished_policy(wish: Wish, policy: Policy, *, guarded: bool) -> Policy:
    """The owner's word stands for the policy's thrift; its limits hold, and so does a mandate's
    target, at which a guardian ends."""
    most = policy.max_per_action_usd8
    return replace(
        policy,
        min_action_usd8=0,
        guard_share=inf,
        target=policy.target if wish.usd8 is None or guarded else NO_END,
        max_per_action_usd8=most if wish.usd8 is None else min(most, wish.usd8),
    )


def wished_options(wish: Wish, options: Sequence[Way]) -> list[Way]:
    """Of the ways that there are, those that are meant."""
    return [
        each
        for each in options
        if kind_of(each) in MEANT[wish.verb]
        and wish.token in (None, each.token.symbol, each.token.address)
    ]
