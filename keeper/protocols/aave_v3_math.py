"""Aave 3.0's fixed-point arithmetic, operation by operation with its rounding.

Sources are named below `contracts/protocol/libraries` of @aave/core-v3 1.19.3. All arguments are
non-negative. The contracts revert on 256-bit overflow; these functions do not.
"""

from functools import lru_cache

from keeper.model.units import BPS, RAY, SECONDS_PER_YEAR, WAD


def ray_mul_half_up(a: int, b: int) -> int:
    """a × b / 10^27, halves up (math/WadRayMath.sol, rayMul)."""
    return (a * b + RAY // 2) // RAY


def ray_div_half_up(a: int, b: int) -> int:
    """a × 10^27 / b, halves up (math/WadRayMath.sol, rayDiv). Raises `ZeroDivisionError`."""
    return (a * RAY + b // 2) // b


def wad_div_half_up(a: int, b: int) -> int:
    """a × 10^18 / b, halves up (math/WadRayMath.sol, wadDiv). Raises `ZeroDivisionError`."""
    return (a * WAD + b // 2) // b


def percent_mul_half_up(value: int, bps: int) -> int:
    """value × bps / 10000, halves up (math/PercentageMath.sol, percentMul)."""
    return (value * bps + BPS // 2) // BPS


def linear_interest(rate: int, elapsed_s: int) -> int:
    """Growth factor in ray of a yearly rate in ray (math/MathUtils.sol, calculateLinearInterest)."""
    return RAY + rate * elapsed_s // SECONDS_PER_YEAR


@lru_cache(maxsize=1024)
def compounded_interest(rate: int, elapsed_s: int) -> int:
    """Growth factor in ray, (1 + rate/year)^elapsed cut after the third power, each term truncated
    (math/MathUtils.sol, calculateCompoundedInterest).

    Kept, because every debt in a reserve grows by the same factor in one block."""
    if elapsed_s == 0:
        return RAY
    less_one, less_two = elapsed_s - 1, max(elapsed_s - 2, 0)
    power_two = ray_mul_half_up(rate, rate) // (SECONDS_PER_YEAR * SECONDS_PER_YEAR)
    power_three = ray_mul_half_up(power_two, rate) // SECONDS_PER_YEAR
    second = elapsed_s * less_one * power_two // 2
    third = elapsed_s * less_one * less_two * power_three // 6
    return RAY + rate * elapsed_s // SECONDS_PER_YEAR + second + third
