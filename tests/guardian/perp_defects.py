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
        old="    core._spend(market, terms, worth)\n\n",
        new="    core._spend(market, terms, 0)\n\n",
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
    Defect(
        name="move-below-the-floor",
        file=GUARDIAN,
        old="if left < source.floor:",
        new="if False:",
        tests=("test_move.py::test_move__source_ends_below_its_floor__is_refused",),
    ),
    Defect(
        name="move-more-than-is-spare",
        file=GUARDIAN,
        old="        min(min(self._needed(before, terms.target, lent.unit), max_amount), spare),",
        new="        min(self._needed(before, terms.target, lent.unit), max_amount),",
        tests=("test_move.py::test_move__more_needed_than_is_spare__stops_at_the_floor",),
    ),
    Defect(
        name="move-keepers-maximum-ignored",
        file=GUARDIAN,
        old="        min(min(self._needed(before, terms.target, lent.unit), max_amount), spare),",
        new="        min(self._needed(before, terms.target, lent.unit), spare),",
        tests=("test_move.py::test_move__keepers_maximum__is_not_passed",),
    ),
    Defect(
        name="move-without-being-allowed",
        file=GUARDIAN,
        old="core._available(market, terms), core._available_of_reserve(market, self)",
        new="core._available(market, terms), max_value(uint256)",
        tests=("test_move.py::test_move__ended_or_expired__is_refused",),
    ),
    Defect(
        name="move-own-limit-never-used-up",
        file=GUARDIAN,
        old="    core._spend_of_reserve(market, self, worth)\n",
        new="    core._spend_of_reserve(market, self, 0)\n",
        tests=("test_move.py::test_move__own_limit__is_used_up_and_not_given_back_by_the_owner",),
    ),
    Defect(
        name="move-mandates-limit-never-used-up",
        file=GUARDIAN,
        old="    core._spend(market, terms, worth)\n    core._spend_of_reserve",
        new="    core._spend(market, terms, 0)\n    core._spend_of_reserve",
        tests=("test_move.py::test_move__mandates_limit__holds_besides",),
    ),
    Defect(
        name="move-allowed-by-anyone",
        file=GUARDIAN,
        old="    core._only_owner()\n    if limit_max == 0:",
        new="    if limit_max == 0:",
        tests=("test_move.py::test_allow_move__what_cannot_be_meant__is_refused",),
    ),
    Defect(
        name="move-floor-of-one",
        file=GUARDIAN,
        old="if floor_health <= WAD:",
        new="if False:",
        tests=("test_move.py::test_allow_move__what_cannot_be_meant__is_refused",),
    ),
    Defect(
        name="move-floor-left-out-of-the-spare",
        file="aave_market.vy",
        old="    value: uint256 = (counted - min(kept, counted)) * BPS // threshold",
        new="    value: uint256 = counted * BPS // threshold",
        tests=("test_move.py::test_source_of__loan_above_its_floor__is_what_may_be_moved",),
    ),
    Defect(
        name="move-of-what-was-given",
        file="aave_market.vy",
        old="    if left > held:\n        extcall IERC20(a_token).transfer(owner, left - held)",
        new="    if left > 0:\n        extcall IERC20(a_token).transfer(owner, left)",
        tests=("test_move.py::test_move__what_was_given_to_the_guardian__stays_there",),
    ),
    Defect(
        name="move-rest-to-the-keeper",
        file=GUARDIAN,
        old="at, terms, before, lent.token, amount, held, core.OWNER",
        new="at, terms, before, lent.token, amount, held, msg.sender",
        tests=(
            "test_perp_lies.py::test_move__venue_takes_less_than_was_brought__rest_goes_to_the_owner",
        ),
    ),
    Defect(
        name="move-of-the-whole-allowance",
        file=GUARDIAN,
        old="    return balance, allowance - min(allowance, 1 + index // (2 * aave.RAY))",
        new="    return balance, allowance",
        tests=("test_move.py::test_move__allowance_that_binds__is_enough_at_any_index",),
    ),
    Defect(
        name="move-of-what-was-lent-out",
        file=GUARDIAN,
        old="        staticcall IERC20(lent.token).balanceOf(lent.a_token),",
        new="        max_value(uint256),",
        tests=("test_move.py::test_move__pool_that_lent_nearly_all__moves_what_is_left",),
    ),
)
