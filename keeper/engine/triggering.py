"""Which rows act in a pass, and what is remembered of that from one pass to the next."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from keeper.engine.outlook import Outlook
from keeper.engine.watch import Snapshot, Watched
from keeper.model.reading import ReadingError
from keeper.model.units import float_from_wad
from keeper.model.values import PositionId
from keeper.policy.decide import Decisions, Flags, Triggers, decide, disarm, floats_from_healths


class Triggering:
    """Holds what keeps a row from acting twice on one danger, and what makes it go on."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched = watched
        self.renew()
        self._armed: Flags = np.ones(len(watched), dtype=np.bool_)
        self._slicing: Flags = np.zeros(len(watched), dtype=np.bool_)

    def renew(self) -> None:
        """Take over the policies that are in force now."""
        self._triggers = Triggers.of([row.policy for row in self._watched])
        self._targets = np.array([float_from_wad(row.policy.target) for row in self._watched])

    @property
    def armed(self) -> list[bool]:
        """Of each row, whether the forecast may act."""
        armed: list[bool] = self._armed.tolist()
        return armed

    def load(self, disarmed: Collection[PositionId]) -> None:
        """What an earlier run left; slices that it had begun end where they are."""
        self._armed = np.array([row.id not in disarmed for row in self._watched])

    def decide(self, snapshot: Snapshot, outlook: Outlook) -> Decisions:
        """What acts now."""
        healths = floats_from_healths(
            [
                None if isinstance(position, ReadingError) else position.health
                for position in snapshot.positions
            ]
        )
        decisions = decide(
            healths,
            outlook.forecast.probability,
            self._until_restored(),
            self._armed,
        )
        self._armed = decisions.armed
        # A position that needs nothing more is restored, by slices or by the market.
        self._slicing &= decisions.floor
        return decisions

    def _until_restored(self) -> Triggers:
        """A row whose unwind goes on in slices has its floor at its target."""
        floor = np.where(self._slicing, self._targets, self._triggers.floor)
        return replace(self._triggers, floor=floor)

    def reached(self, row: int) -> None:
        """A row's action has just reached its target."""
        self._armed = disarm(self._armed, [row])

    def sent(self, row: int, *, in_slices: bool) -> None:
        """A row's action is on its way; one slice is followed by others until the target."""
        self._slicing[row] = in_slices
