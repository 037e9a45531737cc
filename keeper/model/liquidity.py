"""Ways to swap one token for another, and what they cost at a few sizes."""

from dataclasses import dataclass
from itertools import pairwise

from keeper.model.units import Address, mul_div_up

PPM = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One pool of a route, `sells` going in and `buys` coming out."""

    pool: Address
    sells: Address
    buys: Address
    fee_ppm: int
    """Of what goes in, in millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Pools one after the other, from the token sold to the token bought."""

    venue: str
    hops: tuple[Hop, ...]

    @property
    def sells(self) -> Address:
        return self.hops[0].sells

    @property
    def buys(self) -> Address:
        return self.hops[-1].buys

    def __str__(self) -> str:
        fees = " + ".join(f"{hop.fee_ppm / 10_000:g} %" for hop in self.hops)
        return f"{self.venue} over {len(self.hops)} pool{'s' * (len(self.hops) > 1)} ({fees})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """What a route took at one block for buying these amounts: ascending, at least one.

    Between two quotes the price only gets worse, so that their chord never says too little.
    """

    route: Route
    quotes: tuple[tuple[int, int], ...]
    """(raw units bought, raw units sold for them)."""

    @property
    def deepest(self) -> int:
        """The most that was quoted; more may not be there."""
        return self.quotes[-1][0]

    def sold(self, bought: int) -> int:
        """Units that buying takes, rounded up. Raises `ValueError` beyond `deepest`."""
        (less, for_less), (more, for_more) = self._around(bought)
        return for_less + mul_div_up(for_more - for_less, bought - less, more - less)

    def impact(self, bought: int) -> int:
        """Units that buying takes beyond the price of the smallest quote, rounded down: what the
        pools' curves take. 0 up to that quote."""
        least, for_least = self.quotes[0]
        return max(self.sold(bought) - mul_div_up(for_least, bought, least), 0)

    def marginal(self, bought: int) -> tuple[int, int]:
        """The price that the pools are moved to by buying so much, without their fees: units bought
        and the units sold for them. The mean between two quotes. Raises `ValueError`
        beyond `deepest`."""
        (less, for_less), (more, for_more) = self._around(bought)
        sold = for_more - for_less
        return more - less, sold - self.fee(sold)

    def fee(self, sold: int) -> int:
        """Units of the token sold that the pools keep, rounded up."""
        left, whole = 1, 1
        for hop in self.route.hops:
            left, whole = left * (PPM - hop.fee_ppm), whole * PPM
        return mul_div_up(sold, whole - left, whole)

    def _around(self, bought: int) -> tuple[tuple[int, int], tuple[int, int]]:
        for less, more in pairwise(((0, 0), *self.quotes)):
            if bought <= more[0]:
                return less, more
        raise ValueError(f"{bought} is beyond the {self.deepest} that were quoted")
