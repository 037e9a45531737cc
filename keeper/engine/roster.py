"""The watched positions, each with the policy that is in force for it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

from keeper.engine.watch import Watched
from keeper.policy.settings import Policy


class Roster(Sequence[Watched]):
    """In the order of the rows. Only the policies change."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._rows = list(watched)

    def fit(self, row: int, policy: Policy) -> None:
        """From now on this policy holds for a row."""
        self._rows[row] = replace(self._rows[row], policy=policy)

    @overload
    def __getitem__(self, place: int) -> Watched: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Watched]: ...
    def __getitem__(self, place: int | slice) -> Watched | Sequence[Watched]:
        return self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._rows)
