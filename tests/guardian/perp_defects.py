"""Defects that the perp guardian must not have, each with the quick tests that notice it."""

from typing import Final

from tests.planting import Defect

VENUE: Final = "perp_venue.vy"
GUARDIAN: Final = "perp_guardian.vy"

PERP_DEFECTS: Final = (
    Defect(
        name="perp-any-price",
        file=GUARDIAN,
        old="bound = (fair * (venue.BPS - slippage_bps) + venue.BPS - 1) // venue.BPS",
        new="bound = 0",
        tests=(
            "test_perp_actions.py::test_reduce_position__pool_below_the_index__is_refused_by_the_price",
        ),
    ),
    Defect(
        name="perp-position-grows",
        file=VENUE,
        old="is_base_to_quote=long,",
        new="is_base_to_quote=not long,",
        tests=(
            (
                "test_perp_actions.py::"
                "test_reduce_position__long__sells_what_the_target_needs_and_no_more"
            ),
        ),
    ),
    Defect(
        name="perp-any-market",
        file=GUARDIAN,
        old="if base_token == empty(address) or base_token not in terms.collaterals:",
        new="if False:",
        tests=(
            "test_perp_refusals.py::test_reduce_position__market_that_is_not_the_mandates__is_refused",
        ),
    ),
    Defect(
        name="perp-limit-never-used-up",
        file=GUARDIAN,
        old="    core._spend(market, terms, worth)\n",
        new="    core._spend(market, terms, 0)\n",
        tests=(
            "test_perp_actions.py::test_reduce_position__limit__bounds_what_is_traded_in_a_day",
        ),
    ),
    Defect(
        name="perp-keepers-maximum-ignored",
        file=GUARDIAN,
        old="amount: uint256 = min(wanted, venue._amount_of8(available, price))",
        new="amount: uint256 = min(whole, venue._amount_of8(available, price))",
        tests=("test_perp_actions.py::test_reduce_position__keepers_maximum__is_not_passed",),
    ),
    Defect(
        name="perp-acts-at-any-health",
        file=GUARDIAN,
        old="if found.health >= terms.max_health_to_act:",
        new="if False:",
        tests=("test_perp_refusals.py::test_action__health_at_the_bound__is_refused",),
    ),
    Defect(
        name="perp-more-than-the-target-needs",
        file=VENUE,
        old="    return (surplus * size + value - 1) // value",
        new="    return size",
        tests=(
            (
                "test_perp_actions.py::"
                "test_reduce_position__long__sells_what_the_target_needs_and_no_more"
            ),
        ),
    ),
    Defect(
        name="perp-second-liquidation-unseen",
        file=VENUE,
        old="        health = min(health, allowed * WAD // debt)",
        new="        health = health",
        tests=(
            (
                "test_perp_actions.py::"
                "test_add_margin__debt_against_margin_tokens__keeps_these_from_being_sold"
            ),
        ),
    ),
    Defect(
        name="perp-debt-left-out-of-the-size",
        file=VENUE,
        old="    return max(needed, before.debt - min(bearable, before.debt))",
        new="    return needed",
        tests=(
            (
                "test_perp_actions.py::"
                "test_add_margin__debt_against_margin_tokens__keeps_these_from_being_sold"
            ),
        ),
    ),
    Defect(
        name="perp-better-price-refused",
        file=VENUE,
        old="            reached = min(reached, fair)",
        new="            reached = max(reached, fair)",
        tests=("test_perp_actions.py::test_reduce_position__pool_above_the_mark__is_no_excess",),
    ),
    Defect(
        name="perp-maker-accepted",
        file=VENUE,
        old="if whole != size:",
        new="if False:",
        tests=(
            (
                "test_perp_actions.py::"
                "test_reduce_position__makers_liquidity_in_the_market__is_refused_by_name"
            ),
        ),
    ),
    Defect(
        name="perp-margin-of-the-caller",
        file=GUARDIAN,
        old="depositFor(core.OWNER, asset, amount)",
        new="depositFor(msg.sender, asset, amount)",
        tests=(
            "test_perp_actions.py::test_add_margin__from_the_owners_wallet__reaches_the_target",
        ),
    ),
    Defect(
        name="perp-slippage-above-half-the-penalty",
        file=GUARDIAN,
        old="if terms.slippage_urgent_bps > half:",
        new="if False:",
        tests=("test_perp_refusals.py::test_set_mandate__terms_that_must_not_be__are_refused",),
    ),
    Defect(
        name="perp-market-that-is-none",
        file=GUARDIAN,
        old="if base_token != empty(address) and not venue._has_market(at, base_token):",
        new="if False:",
        tests=("test_perp_refusals.py::test_set_mandate__token_that_is_no_market__is_refused",),
    ),
)
