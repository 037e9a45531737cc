"""A rule fitted to one position: see `keeper.policy.rule.tailored`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from keeper.model.book import Book, health_with_room, room
from keeper.model.units import BPS, WAD, Wad, float_from_wad, wad_from_fraction_up
from keeper.model.values import PositionState
from keeper.policy.rule import Rule, tailored
from keeper.policy.settings import Policy

PEGGED = "pegged"
"""Two prices of which one keeps to the other, where the rule does not name the pair."""
UNKNOWN = "unknown"
"""Prices whose feeds do not say what they are of."""
PEGGED_ABOVE_BPS = 9_000
"""Of a liquidation threshold: efficiency modes of correlated assets lie at 93 to 97 %, what is lent on
volatile collateral at 86 % or less."""


def health_of(value: float) -> Wad:
    """A health of a rule, to 9 decimals: rules are written with fewer."""
    return wad_from_fraction_up(Fraction(f"{value:.9f}"))


def fitted_to(
    rule: Rule, policy: Policy, *, pair: str, start: Wad, perp: Book | None = None
) -> Policy:
    """The policy with the floor and the target of a position of this pair that started at this
    health.

    `PEGGED` pairs that the rule does not name have the least share that it names. `UNKNOWN` ones are
    taken for volatile, however near to liquidation they start: they may be first seen in a crash.

    A rule's figures are a loan's, whose health is the factor by which prices may move against it. Of a
    perp account, `perp` its row of the book, they are the healths that leave its prices as much room.
    """
    health = float_from_wad(start)
    if perp is not None:
        health = float(room(perp, health)[0])
    shares: Mapping[str, float] = rule.pair_share
    if pair == PEGGED and shares:
        shares = {**shares, PEGGED: min(shares.values())}
    own = tailored(
        replace(rule, pair_share=shares),
        [pair],
        np.array([health]),
        np.array([float(policy.response_s)]),
    )
    floor, target = (
        health_of(float(each if perp is None else health_with_room(perp, float(each))[0]))
        for each in (own.triggers.floor[0], own.target[0])
    )
    ceiling = target if policy.max_health_to_act == policy.target else policy.max_health_to_act
    return replace(
        policy,
        floor=floor,
        target=target,
        max_health_to_act=max(ceiling, floor),
        guard_steepness=rule.guard_steepness / float(own.pair_share[0]),
    )


def pegged_by_terms(position: PositionState) -> bool:
    """Whether its protocol lends so much on its collateral as it would on no volatile one: health =
    collateral × threshold / debt gives the threshold, whatever prices do. A perp account's notional
    over its maintenance margin, which comes out above 1, is none."""
    if position.health is None:
        return False
    counted = position.health * position.debt_usd8
    most = WAD * position.collateral_usd8
    return most * PEGGED_ABOVE_BPS < counted * BPS <= most * BPS


def known_pairs(rule: Rule) -> Sequence[str]:
    """Those that the rule treats apart."""
    return tuple(dict.fromkeys((*rule.pair_share, *rule.by_pair)))
