"""Whether an action is worth its costs."""

from typing import overload

import numpy as np
from numpy.typing import NDArray

from keeper.model.book import Floats
from keeper.policy.settings import GUARD_SHARE as GUARD_SHARE


@overload
def worth_acting(cash_cost: float, liquidation_loss: float, share: float = ...) -> bool: ...
@overload
def worth_acting(
    cash_cost: Floats, liquidation_loss: Floats, share: float | Floats = ...
) -> NDArray[np.bool_]: ...
def worth_acting(
    cash_cost: float | Floats,
    liquidation_loss: float | Floats,
    share: float | Floats = GUARD_SHARE,
) -> bool | NDArray[np.bool_]:
    """Act unless the cash cost exceeds `share` of what a liquidation would take (penalty × close
    factor × debt), both in the same unit. Costs that are not known (nan) do not keep from acting.

    Scalars give a `bool`, arrays (which broadcast) a mask.
    """
    worth = np.asarray(~np.greater(cash_cost, np.multiply(share, liquidation_loss)))
    return worth if worth.ndim else bool(worth)


MOST_SHARE = 1.5
"""A liquidation is often not the last one."""


def share_at(
    health: Floats, share: Floats, steepness: Floats, most: Floats | float = MOST_SHARE
) -> Floats:
    """The share for `worth_acting` at a health: share × health^(−steepness), `most` at most.

    Far from liquidation it is unlikely to come, and what an action spares is so much less: a dear
    action waits until the danger is worth it, a cheap one does not. The power is how rare pooled
    jumps over the distance are. Steepness 0 is the same share everywhere.
    """
    return np.minimum(share * health**-steepness, most)
