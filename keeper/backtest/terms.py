"""What a liquidation takes and what a swap costs, pair by pair, and how gas and pools answer moves."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from keeper.model.book import Floats

PAIRS: Final = ("ETH/USD", "BTC/USD", "SOL/USD", "LINK/USD", "ETH/BTC", "stETH/ETH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Of one pair. `penalty`: the liquidation bonus of the collateral in Aave's main market, in an
    efficiency mode that of the mode. `threshold`: its liquidation threshold, for positions that are
    drawn. `swap_fee`: of the deepest Uniswap v3 pool. `depth_usd`: the size at which the pool's curve
    takes half of what is sold."""

    penalty: float
    threshold: float
    swap_fee: float
    depth_usd: float


KNOWN: Final = {
    "ETH/USD": Terms(penalty=0.05, threshold=0.83, swap_fee=0.0005, depth_usd=100e6),
    "BTC/USD": Terms(penalty=0.05, threshold=0.78, swap_fee=0.0005, depth_usd=100e6),
    "SOL/USD": Terms(penalty=0.10, threshold=0.75, swap_fee=0.003, depth_usd=20e6),
    "LINK/USD": Terms(penalty=0.07, threshold=0.68, swap_fee=0.003, depth_usd=20e6),
    "ETH/BTC": Terms(penalty=0.05, threshold=0.83, swap_fee=0.0005, depth_usd=100e6),
    "stETH/ETH": Terms(penalty=0.01, threshold=0.95, swap_fee=0.0004, depth_usd=200e6),
}
OTHERS: Final = Terms(penalty=0.10, threshold=0.70, swap_fee=0.003, depth_usd=20e6)


def terms(pair: str) -> Terms:
    """Of a pair; of one that is not known those of a volatile asset with thin pools."""
    return KNOWN.get(pair, OTHERS)


CLOSE_FACTOR: Final = 0.5
CLOSE_ALL_BELOW: Final = 0.95
"""Aave v3: half of the debt may be repaid in one liquidation, all of it where health is at or below
this (LiquidationLogic: CLOSE_FACTOR_HF_THRESHOLD)."""

GAS_PER_MOVE: Final = 50.0
GAS_AT_MOST: Final = 10.0


def gas_factor(move: Floats) -> Floats:
    """How many times dearer gas is than in calm, `move` being the market's of the last hour (|log|):
    1 + 50 × move, 10 at most. On six crash days of 2020 and 2021 mainnet's gas price was about twice
    that of the day's first hours at moves of 1 to 4 %, four times at 4 to 8 %, and eight to twelve
    times beyond."""
    return np.minimum(1.0 + GAS_PER_MOVE * move, GAS_AT_MOST)


def depth_factor(move: Floats) -> Floats:
    """How much of a pool's depth is left: providers step back as prices move, half of them at 5 % an
    hour."""
    return 1.0 / (1.0 + 20.0 * move)


def failure(move: Floats) -> Floats:
    """How likely a transaction misses its block, and is tried again at the next step: 2 %, and one
    in five at a move of 10 % an hour; one in two at most."""
    return np.minimum(0.02 + 1.8 * move, 0.5)


CALM: Final = 0.005
URGENT: Final = 0.02


def slippage(health: Floats, target: Floats, penalty: Floats) -> Floats:
    """What a swap may lose against the oracle, as a guardian's mandate has it by default: from 0.5 %
    at the target to 2 % at health 1, and never more than half of the liquidation's bonus."""
    depth = np.clip((target - health) / (target - 1.0), 0.0, 1.0)
    return np.minimum(CALM + (URGENT - CALM) * depth, 0.5 * penalty)
