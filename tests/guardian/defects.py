"""Defects that a guardian must not have, each with the quick tests that notice it.

`tests` are those of this directory; `test_thief.py` among them sends the thief.
"""

from typing import Final

from tests.planting import Defect

CORE: Final = "guardian_core.vy"
FUNDS: Final = "guardian_funds.vy"
AAVE: Final = "aave_market.vy"
UNISWAP: Final = "uniswap_v3.vy"
GUARDIAN: Final = "aave_guardian.vy"
THIEF: Final = "test_thief.py"

WHO: Final = (
    Defect(
        name="anyone-sets-a-mandate",
        file=CORE,
        old="    if msg.sender != OWNER:\n        refusals._refuse_addresses(refusals.NOT_OWNER",
        new="    if False:\n        refusals._refuse_addresses(refusals.NOT_OWNER",
        tests=("test_refusals.py::test_not_owner",),
    ),
    Defect(
        name="anyone-is-the-keeper",
        file=CORE,
        old="if msg.sender != terms.keeper:",
        new="if False:",
        tests=("test_refusals.py::test_not_keeper",),
    ),
    Defect(
        name="anyone-freezes",
        file=CORE,
        old="if msg.sender != terms.freezer:",
        new="if False:",
        tests=("test_limits.py::test_freeze__by_anyone_else__is_refused",),
    ),
    Defect(
        name="stale-mandate-accepted",
        file=CORE,
        old="if mandate_hash != current:",
        new="if False:",
        tests=("test_refusals.py::test_stale_mandate",),
    ),
    Defect(
        name="hash-of-any-guardian",
        file=CORE,
        old="abi_encode(chain.id, self, OWNER, market, terms, nonce)",
        new="abi_encode(chain.id, OWNER, OWNER, market, terms, nonce)",
        tests=("test_actions.py::test_mandate_hash__by_the_documented_formula__is_the_contracts",),
    ),
    Defect(
        name="strangers-reserve-without-consent",
        file=CORE,
        old="    if reserve == OWNER:\n        return",
        new="    if reserve != empty(address):\n        return",
        tests=("test_limits.py::test_reserve__without_consent__is_not_touched",),
    ),
    Defect(
        name="expired-consent-accepted",
        file=CORE,
        old="if block.timestamp > given.expiry:",
        new="if given.expiry == 0:",
        tests=("test_limits.py::test_reserve__consent_expired_or_withdrawn__is_not_touched",),
    ),
)

WHEN: Final = (
    Defect(
        name="expiry-ignored",
        file=CORE,
        old="if block.timestamp > terms.expiry and not outlives:",
        new="if False:",
        tests=("test_refusals.py::test_mandate_expired",),
    ),
    Defect(
        name="emergency-always-outlives",
        file=CORE,
        old="self._check_time(market, charter, terms, terms.emergency_outlives_expiry)",
        new="self._check_time(market, charter, terms, True)",
        tests=("test_actions.py::test_emergency__after_expiry__works_if_the_mandate_says_so",),
    ),
    Defect(
        name="emergency-ignores-the-freeze",
        file=CORE,
        old="self._check_time(market, charter, terms, terms.emergency_outlives_expiry)",
        new=(
            "self._check_time("
            "market, charter & ~FROZEN_BIT, terms, terms.emergency_outlives_expiry)"
        ),
        tests=("test_limits.py::test_freeze__emergency_call__obeys_it", THIEF),
    ),
    Defect(
        name="outliving-emergency-ignores-the-freeze",
        file=CORE,
        old="    if charter & FROZEN_BIT != 0:",
        new="    if charter & FROZEN_BIT != 0 and not outlives:",
        tests=("test_limits.py::test_freeze__emergency_call__obeys_it",),
    ),
    Defect(
        name="mandate-set-again-unfreezes",
        file=CORE,
        old="convert(code, uint256) | (charter & FROZEN_BIT) |",
        new="convert(code, uint256) |",
        tests=(
            "test_limits.py::test_freeze__by_the_freezer__stops_until_the_owner_says_otherwise",
        ),
    ),
    Defect(
        name="cooldown-ignored",
        file=CORE,
        old="if last != 0 and block.timestamp < last + terms.cooldown_s:",
        new="if False:",
        tests=("test_limits.py::test_cooldown__second_action__waits_for_its_end",),
    ),
)

HOW_MUCH: Final = (
    Defect(
        name="limit-not-used-up",
        file=CORE,
        old="self._spent(bucket, limit_per_second) + worth",
        new="self._spent(bucket, limit_per_second)",
        tests=("test_limits.py::test_limit__one_for_all_actions__is_used_by_each",),
    ),
    Defect(
        name="limit-refilled-when-set-again",
        file=CORE,
        old="self._buckets[market] = self._settled(bucket, slope)",
        new="self._buckets[market] = self._bucket(0, bucket >> 192)",
        tests=("test_limits.py::test_limit__mandate_set_again__is_not_refilled", THIEF),
    ),
    Defect(
        name="limit-refilled-when-lowered",
        file=CORE,
        old="    nonce: uint256 = (charter >> NONCE_SHIFT) + 1\n    code: address",
        new=(
            "    if self._buckets[market] & AMOUNT_MASK > terms.limit_max:\n"
            "        self._buckets[market] = 0\n"
            "    nonce: uint256 = (charter >> NONCE_SHIFT) + 1\n    code: address"
        ),
        tests=(
            "test_limits.py::test_limit__lowered_and_raised_again__forgets_nothing_spent",
            THIEF,
        ),
    ),
    Defect(
        name="raised-limit-without-effect",
        file=CORE,
        old="        slope = self._read_mandate(market, charter).limit_per_second\n",
        new=(
            "        slope = self._read_mandate(market, charter).limit_per_second\n"
            "        bucket += 10**13 if bucket & AMOUNT_MASK == 0 else 0\n"
        ),
        tests=("test_limits.py::test_limit__raised_before_anything_was_spent__is_all_there",),
    ),
    Defect(
        name="raised-refill-counts-backwards",
        file=CORE,
        old="    self._check_terms(market, terms)\n    charter: uint256 = self._charters[market]\n"
        "    self._settle_bucket(market, charter)\n",
        new="    self._check_terms(market, terms)\n    charter: uint256 = self._charters[market]\n",
        tests=("test_limits.py::test_limit__its_refill_raised__does_not_count_backwards",),
    ),
    Defect(
        name="limit-refilled-when-unfrozen",
        file=CORE,
        old="    self._charters[market] &= ~FROZEN_BIT\n",
        new="    self._charters[market] &= ~FROZEN_BIT\n    self._buckets[market] = 0\n",
        tests=("test_limits.py::test_limit__frozen_and_unfrozen__is_not_refilled",),
    ),
    Defect(
        name="limit-refilled-when-revoked",
        file=CORE,
        old="    self._charters[market] = (charter & FROZEN_BIT) | (nonce << NONCE_SHIFT)\n",
        new=(
            "    self._charters[market] = (charter & FROZEN_BIT) | (nonce << NONCE_SHIFT)\n"
            "    self._buckets[market] = 0\n"
        ),
        tests=("test_limits.py::test_limit__mandate_revoked_and_set_again__is_not_refilled",),
    ),
    Defect(
        name="limit-refilled-while-revoked",
        file=CORE,
        old="    slope: uint256 = 0\n",
        new="    slope: uint256 = AMOUNT_MASK\n",
        tests=("test_limits.py::test_limit__mandate_revoked_and_set_again__is_not_refilled",),
    ),
    Defect(
        name="reserves-limit-not-used-up",
        file=FUNDS,
        old="    core._spend_of_reserve(market, reserve, worth)\n",
        new="",
        tests=("test_limits.py::test_reserve__with_consent__gives_up_to_its_own_limit",),
    ),
    Defect(
        name="reserves-limit-refilled-when-given-again",
        file=CORE,
        old="[reserve] = self._settled(bucket, old.limit_per_second)",
        new="[reserve] = self._bucket(0, bucket >> 192)",
        tests=("test_limits.py::test_reserve__with_consent__gives_up_to_its_own_limit",),
    ),
    Defect(
        name="reserves-limit-refilled-when-ended",
        file=CORE,
        old="[reserve] = self._settled(bucket, old.limit_per_second)",
        new=(
            "[reserve] = self._bucket("
            "min(self._spent(bucket, old.limit_per_second), limit_max), bucket >> 192)"
        ),
        tests=("test_limits.py::test_reserve__consent_ended_and_given_again__is_not_refilled",),
    ),
    Defect(
        name="health-bound-dropped",
        file=GUARDIAN,
        old="if account.health >= bound:",
        new="if False:",
        tests=("test_refusals.py::test_health_too_high",),
    ),
    Defect(
        name="emergency-at-the-keepers-health",
        file=GUARDIAN,
        old="self._account_below(at, terms.emergency_health)",
        new="self._account_below(at, terms.max_health_to_act)",
        tests=("test_actions.py::test_emergency__health_above_its_bound__is_refused",),
    ),
    Defect(
        name="target-not-held",
        file=AAVE,
        old="if after.health > bound:",
        new="if False:",
        tests=("test_callbacks.py::test_outcome__health_past_the_target__is_refused",),
    ),
    Defect(
        name="keepers-maximum-ignored",
        file=GUARDIAN,
        old="        min(max_repay, self._owed(bought)),",
        new="        self._owed(bought),",
        tests=("test_actions.py::test_deleverage__keepers_figure__is_a_maximum",),
    ),
    Defect(
        name="smallest-action-ignored",
        file=FUNDS,
        old="if amount == 0 or worth < min_action:",
        new="if amount == 0:",
        tests=("test_refusals.py::test_action_too_small",),
    ),
    Defect(
        name="value-rounded-for-the-keeper",
        file=FUNDS,
        old="(amount * price + unit - 1) // unit",
        new="amount * price // unit",
        tests=("test_limits.py::test_limit__value_of_an_action__is_rounded_up",),
    ),
)

SWAPS: Final = (
    Defect(
        name="no-price-limit",
        file=UNISWAP,
        old="self._limit(bought, sold, oracle, slippage_bps)",
        new="MIN_LIMIT if self._is_first(sold, bought) else MAX_LIMIT",
        tests=(
            "test_actions.py::test_deleverage__pool_3_percent_worse__is_refused_by_the_price_limit",
        ),
    ),
    Defect(
        name="no-slippage-bound",
        file=GUARDIAN,
        old="    if owed > step.most:",
        new="    if False:",
        tests=("test_actions.py::test_deleverage__keepers_own_bound_on_the_price__holds",),
    ),
    Defect(
        name="keepers-price-ignored",
        file=GUARDIAN,
        old="min(max_taken, aave._most_collateral(bought, sold, amount, slippage_bps))",
        new="aave._most_collateral(bought, sold, amount, slippage_bps)",
        tests=("test_actions.py::test_deleverage__keepers_own_bound_on_the_price__holds",),
    ),
    Defect(
        name="half-of-the-bonus-not-held",
        file=GUARDIAN,
        old="min(allowed_bps, sold.half_bonus_bps)",
        new="allowed_bps",
        tests=("test_actions.py::test_deleverage__bonus_lowered_since__tightens_the_slippage",),
    ),
    Defect(
        name="emergency-at-the-keepers-slippage",
        file=GUARDIAN,
        old="core._allowed_slippage_bps(terms, before.health) // 2",
        new="core._allowed_slippage_bps(terms, before.health)",
        tests=("test_actions.py::test_emergency__tighter_slippage__refuses_what_the_keeper_may",),
    ),
    Defect(
        name="emergency-all-or-nothing",
        file=GUARDIAN,
        old="in [1, 2, 8]:",
        new="in [1]:",
        tests=(
            (
                "test_actions.py::"
                "test_emergency__more_than_the_pool_bears__unwinds_half_or_an_eighth_of_it"
            ),
        ),
    ),
    Defect(
        name="emergency-part-open-to-anyone",
        file=GUARDIAN,
        old="    if msg.sender != self:",
        new="    if False:",
        tests=("test_actions.py::test_emergency__part_of_it__is_made_by_nobody_else",),
    ),
    Defect(
        name="no-list-of-pools",
        file=GUARDIAN,
        old="if pool == empty(address) or pool not in terms.pools:",
        new="if False:",
        tests=("test_refusals.py::test_pool_not_allowed", THIEF),
    ),
    Defect(
        name="zeros-are-listed-pools",
        file=GUARDIAN,
        old="if pool == empty(address) or pool not in terms.pools:",
        new="if pool not in terms.pools:",
        tests=("test_refusals.py::test_pool_not_allowed__the_zeros_that_fill_the_list",),
    ),
    Defect(
        name="donation-pays-for-a-shortfall",
        file=FUNDS,
        old="    if now < held:",
        new="    if False:",
        tests=(
            "test_callbacks.py::test_donation__to_the_guardian__does_not_pay_for_what_a_pool_kept",
        ),
    ),
    Defect(
        name="no-list-of-collaterals",
        file=GUARDIAN,
        old="if collateral == empty(address) or collateral not in terms.collaterals:",
        new="if False:",
        tests=("test_refusals.py::test_collateral_not_allowed",),
    ),
    Defect(
        name="no-limit-of-hops",
        file=GUARDIAN,
        old="if len(route) == 0 or len(route) > terms.max_hops:",
        new="if len(route) == 0:",
        tests=("test_refusals.py::test_hops_out_of_range",),
    ),
    Defect(
        name="pool-may-send-less",
        file=GUARDIAN,
        old="if received != step.wanted:",
        new="if False:",
        tests=("test_refusals.py::test_pool_without_liquidity",),
    ),
)

CALLBACKS: Final = (
    Defect(
        name="callback-not-checked",
        file=CORE,
        old="""if expected == empty(bytes32) or expected != self._callback_id(
        msg.sender, selector, data_hash
    ):""",
        new="if False:",
        tests=("test_callbacks.py::test_swap_callback__not_asked_for__is_refused",),
    ),
    Defect(
        name="callback-from-anyone",
        file=CORE,
        old="keccak256(abi_encode(caller, selector, data_hash))",
        new="keccak256(abi_encode(selector, data_hash))",
        tests=("test_callbacks.py::test_swap_callback__by_an_accomplice__is_refused",),
    ),
    Defect(
        name="callback-with-any-data",
        file=CORE,
        old="keccak256(abi_encode(caller, selector, data_hash))",
        new="keccak256(abi_encode(caller, selector))",
        tests=("test_callbacks.py::test_swap_callback__with_other_data__is_refused",),
    ),
    Defect(
        name="callback-with-any-selector",
        file=CORE,
        old="keccak256(abi_encode(caller, selector, data_hash))",
        new="keccak256(abi_encode(caller, data_hash))",
        tests=("test_callbacks.py::test_loan_callback__by_a_pool__is_refused",),
    ),
    Defect(
        name="callback-twice",
        file=CORE,
        old="        )\n    self._expected = empty(bytes32)\n",
        new="        )\n",
        tests=("test_callbacks.py::test_swap_callback__twice__is_refused",),
    ),
    Defect(
        name="callback-after-the-end",
        file=GUARDIAN,
        old="    core._expect_nothing()\n",
        new="",
        tests=("test_callbacks.py::test_swap_callback__after_the_end__is_refused",),
    ),
    Defect(
        name="initiator-not-checked",
        file=GUARDIAN,
        old="    if initiator != self:",
        new="    if False:",
        tests=("test_callbacks.py::test_loan_callback__in_a_strangers_name__is_refused",),
    ),
    Defect(
        name="unlocked-emergency",
        file=GUARDIAN,
        old="@nonreentrant\ndef emergency(",
        new="def emergency(",
        tests=("test_tokens.py::test_token_that_calls_back_in__is_refused",),
    ),
    Defect(
        name="unlocked-consent",
        file=CORE,
        old="@nonreentrant\ndef consent(",
        new="def consent(",
        tests=("test_tokens.py::test_token_that_calls_back_in__is_refused",),
    ),
)

SETTLING: Final = (
    Defect(
        name="donation-taken-by-repay",
        file=GUARDIAN,
        old="""    held: uint256 = staticcall IERC20(asset).balanceOf(self)
    amount: uint256 = funds._pull(market, terms, asset, debt.price, debt.unit, wanted)""",
        new="""    held: uint256 = 0
    amount: uint256 = funds._pull(market, terms, asset, debt.price, debt.unit, wanted)""",
        tests=(
            (
                "test_actions.py::"
                "test_repay__tokens_donated_to_the_guardian__are_neither_used_nor_lost"
            ),
            THIEF,
        ),
    ),
    Defect(
        name="donation-taken-by-deleverage",
        file=GUARDIAN,
        old="held=staticcall IERC20(bought.token).balanceOf(self),",
        new="held=0,",
        tests=(
            "test_actions.py::test_deleverage__tokens_donated_to_the_guardian__are_left_there",
            THIEF,
        ),
    ),
    Defect(
        name="donation-stands-in-for-the-loan",
        file=GUARDIAN,
        old="if delivered < step.held + step.repay:",
        new="if delivered < step.repay:",
        tests=("test_callbacks.py::test_loan_callback__a_donation_in_the_loans_place__is_refused",),
    ),
    Defect(
        name="short-transfer-accepted",
        file=FUNDS,
        old="    if received != amount:",
        new="    if False:",
        tests=("test_tokens.py::test_token_with_a_fee__is_refused",),
    ),
    Defect(
        name="refused-transfer-accepted",
        file=FUNDS,
        old="    if not agreed:",
        new="    if False:",
        tests=("test_tokens.py::test_token_that_says_no__is_refused",),
    ),
    Defect(
        name="rest-of-a-tokens-kept-by-the-caller",
        file=AAVE,
        old="extcall IERC20(a_token).transfer(owner, left - held)",
        new="extcall IERC20(a_token).transfer(tx.origin, left - held)",
        tests=(
            (
                "test_actions.py::"
                "test_deleverage__a_token_transfer_short_by_its_rounding__is_made_good_and_returned"
            ),
        ),
    ),
    Defect(
        name="one-unit-more-at-any-index",
        file=AAVE,
        old="extcall IERC20(a_token).transferFrom(owner, self, 1 + index // (2 * RAY))",
        new="extcall IERC20(a_token).transferFrom(owner, self, 1)",
        tests=(
            (
                "test_actions.py::"
                "test_deleverage__a_token_transfer_short_by_its_rounding__is_made_good_and_returned"
            ),
        ),
    ),
    Defect(
        name="collateral-may-fall",
        file=AAVE,
        old="if after.collateral < least:",
        new="if False:",
        tests=("test_callbacks.py::test_outcome__collateral_gone_meanwhile__is_refused",),
    ),
    Defect(
        name="debt-may-rise",
        file=AAVE,
        old="if after.debt > most:",
        new="if False:",
        tests=("test_callbacks.py::test_outcome__debt_not_down_by_what_was_repaid__is_refused",),
    ),
    Defect(
        name="health-may-stay",
        file=AAVE,
        old="if after.health < expected:",
        new="if False:",
        tests=("test_callbacks.py::test_outcome__health_below_what_follows__is_refused",),
    ),
)

DEFECTS: Final = (*WHO, *WHEN, *HOW_MUCH, *SWAPS, *CALLBACKS, *SETTLING)
