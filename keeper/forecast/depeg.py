"""Jumps of pegged pairs: stETH against ETH, one stablecoin against another.

Calm months say nothing of the day on which a peg breaks. Hence a jump that comes without warning,
independent of the table's probability:

    P(boundary at log distance d within T) = 1 − exp(−λ·T·P(J ≥ d)),   P(J ≥ d) = (SMALLEST/d)^TAIL

with falls J of the pegged asset against its anchor, P(J ≥ d) = 1 within `SMALLEST`.

Counted over about 12 asset-years: five stablecoins from June 2021 to June 2023 (C. Polizu, A. Garg
and M. de la Mata, Stablecoins: A Deep Dive into Valuation and Depegging, S&P Global, September
2023: USDC and DAI below 0.90, USDT below 0.95, BUSD never below 0.975) and Chainlink's stETH/ETH
from 2022 to 2023 (0.960 in May, 0.935 in June 2022). That is five falls of 2 % or more and two of
10 %, so a rate of 5/12 a year and a tail of ln(5/2)/ln(5). Few events, of two bad years: an order
of magnitude, on the careful side.
"""

from math import log
from typing import Final

import numpy as np

from keeper.model.book import Floats
from keeper.model.units import SECONDS_PER_YEAR

RATE_PER_YEAR: Final = 5.0 / 12.0
SMALLEST: Final = 0.02
TAIL: Final = log(5.0 / 2.0) / log(5.0)


def with_jumps(probability: Floats, distance: Floats, horizon_s: float) -> Floats:
    """The probability that the boundary is reached by the table's moves or by a jump."""
    at_least = (SMALLEST / np.maximum(distance, SMALLEST)) ** TAIL
    none = np.exp(-RATE_PER_YEAR * horizon_s / SECONDS_PER_YEAR * at_least)
    joined: Floats = 1.0 - (1.0 - probability) * none
    return joined
