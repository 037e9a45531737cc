# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A guardian for another protocol
@notice Built on the core's modules as they are, to show that they know no protocol. Adds margin,
        and swaps nothing. For tests.
@license Apache-2.0
"""

import guardian_core as core
import guardian_funds as funds
import refusals

initializes: core
initializes: funds[core := core]
exports: (
    core.owner,
    core.mandate,
    core.status,
    core.consent_of,
    core.revoke_mandate,
    core.freeze,
    core.unfreeze,
    core.consent,
)

interface Ledger:
    def asset() -> address: view
    def margin(account: address) -> uint256: view
    def required(account: address) -> uint256: view
    def health(account: address) -> uint256: view
    def deposit_for(account: address, amount: uint256): nonpayable

UNIT: constant(uint256) = 10**6
DOLLAR: constant(uint256) = 10**8


@deploy
def __init__(owner: address):
    core.__init__(owner)


@external
@nonreentrant
def set_mandate(market: address, terms: core.Mandate) -> bytes32:
    return core._set_mandate(market, terms)


@external
@nonreentrant
def add_margin(market: address, mandate_hash: bytes32, max_amount: uint256) -> uint256:
    terms: core.Mandate = core._keeper_mandate(market, mandate_hash)
    at: Ledger = Ledger(market)
    before: uint256 = staticcall at.health(core.OWNER)
    if before >= terms.max_health_to_act:
        refusals._refuse(refusals.HEALTH_TOO_HIGH, before, terms.max_health_to_act)
    asset: address = staticcall at.asset()
    needed: uint256 = (
        staticcall at.required(core.OWNER) * terms.target // 10**18 - staticcall at.margin(core.OWNER)
    )
    amount: uint256 = funds._pull(market, terms, asset, DOLLAR, UNIT, min(needed, max_amount))
    funds._approve(asset, market, amount)
    extcall at.deposit_for(core.OWNER, amount)
    after: uint256 = staticcall at.health(core.OWNER)
    if after <= before:
        refusals._refuse(refusals.HEALTH_ROSE_TOO_LITTLE, after, before + 1)
    return amount
