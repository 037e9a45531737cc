"""What happened in a replay, entry by entry."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats

Ints = NDArray[np.intp]
RESERVE: Final = 0
SWAP: Final = 1
LIQUIDATION: Final = 2
KINDS: Final = ("reserve", "swap", "liquidation")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Events:
    """One entry each, in the order of time for every row. `policy` and `position` are places, `kind`
    one in `KINDS`, `time` Unix seconds, `price` the oracle's. `repaid` is debt, `sold` collateral at
    the oracle's price, both in units of the quote. Costs in USD."""

    policy: Ints
    position: Ints
    kind: Ints
    time: Floats
    price: Floats
    repaid: Floats
    sold: Floats
    gas_usd: Floats
    swap_fee_usd: Floats
    impact_usd: Floats
    carry_usd: Floats
    penalty_usd: Floats
    health_before: Floats
    health_after: Floats

    def __len__(self) -> int:
        return len(self.time)

    @property
    def cost_usd(self) -> Floats:
        """Of each event."""
        spent: Floats = sum((getattr(self, name) for name in COSTS), np.zeros(len(self)))
        return spent

    def where(self, chosen: NDArray[np.bool_]) -> Self:
        """These of them."""
        return type(self)(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All of them, one part after the other."""
        return cls(
            **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)}
        )


COSTS: Final = ("gas_usd", "swap_fee_usd", "impact_usd", "carry_usd", "penalty_usd")


class Ledger:
    """Takes entries of many rows at a time."""

    def __init__(self) -> None:
        self._parts: list[Events] = []

    def note(
        self,
        *,
        policy: Ints,
        position: Ints,
        kind: Ints | int,
        time: Floats,
        price: Floats,
        repaid: Floats,
        sold: Floats,
        health_before: Floats,
        health_after: Floats,
        **costs: Floats,
    ) -> None:
        """`costs` are some of `COSTS`; the others are 0."""
        none = np.zeros(len(time))
        self._parts.append(
            Events(
                policy=policy,
                position=position,
                kind=np.broadcast_to(np.asarray(kind, dtype=np.intp), time.shape),
                time=time,
                price=price,
                repaid=repaid,
                sold=sold,
                health_before=health_before,
                health_after=health_after,
                **{name: costs.get(name, none) for name in COSTS},
            )
        )

    def events(self) -> Events:
        """All of them."""
        if self._parts:
            return Events.joined(self._parts)
        none, counted = np.zeros(0), np.zeros(0, dtype=np.intp)
        amounts = {f.name: none for f in fields(Events)[3:]}
        return Events(policy=counted, position=counted, kind=counted, **amounts)
