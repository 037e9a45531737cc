"""The transactions with which an owner sets up, changes and ends a mandate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keeper.abi.erc20 import APPROVE
from keeper.abi.perp_v2 import OPEN_POSITION, DelegateApproval
from keeper.mandate.charter import (
    ALLOW_MOVE,
    CONSENT,
    FREEZE,
    REVOKE_MANDATE,
    UNFREEZE,
    Charter,
    set_mandate,
)
from keeper.mandate.deployment import GuardianCode
from keeper.mandate.survey import Survey
from keeper.model.mandate import NOBODY, Mandate
from keeper.model.units import SECONDS_PER_DAY, WAD, Address, Amount, Wad
from keeper.model.values import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedMove:
    """From where margin may be moved, and how far; ends with the mandate."""

    market: Address
    """Of Aave v3, by its PoolAddressesProvider."""
    floor: Wad
    limit_max: int
    """With 8 decimals; comes back evenly over a day."""

    @property
    def limit_per_second(self) -> int:
        return self.limit_max // SECONDS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """A mandate with the allowances it lives on, as the owner wants them."""

    guardian: Address
    market: Address
    owner: Address
    mandate: Mandate
    a_tokens: Mapping[Address, Address]
    """Of each collateral that may be sold or moved."""
    takeable: Mapping[Address, Amount]
    """How much of each collateral the guardian may take in all."""
    from_reserve: Mapping[Address, Amount]
    """How much of each token it may take from the reserve in all."""
    oracle: Address | None = None
    """By which swaps are judged; None for perps."""
    delegation: Address | None = None
    """A perp venue's DelegateApproval; None for loans."""
    move: IntendedMove | None = None


def setting(
    intended: Intended, survey: Survey, code: GuardianCode | None, charter: Charter | None
) -> Iterator[Transaction]:
    """Deploy (with `code`, where nothing is deployed yet), set, allow: by the owner. `charter`: what
    the guardian says now."""
    if code is not None:
        yield code.deploy(intended.owner)
    if intended.move is not None:
        yield allowing_move(intended, intended.move)
    elif _may_move(charter):
        yield _ending_move(intended)
    yield Transaction(
        to=intended.guardian,
        data=set_mandate(intended.market, intended.mandate),
        purpose="set the mandate",
    )
    for collateral, amount in intended.takeable.items():
        yield from _allowing(
            intended.a_tokens[collateral],
            intended.guardian,
            amount,
            survey.a_token_allowances[collateral],
            f"let the guardian take {amount} of collateral",
        )
    if intended.delegation and intended.mandate.collaterals and not survey.delegated:
        yield Transaction(
            to=intended.delegation,
            data=DelegateApproval.APPROVE.encode(intended.guardian, OPEN_POSITION),
            purpose="let the guardian make positions smaller",
        )
    if intended.mandate.reserve == intended.owner:
        yield from reserve_allowances(intended, survey)


def reserve_allowances(intended: Intended, survey: Survey) -> Iterator[Transaction]:
    """By the reserve: let the guardian take its tokens."""
    for token, amount in intended.from_reserve.items():
        yield from _allowing(
            token,
            intended.guardian,
            amount,
            survey.reserve_allowances[token],
            f"let the guardian take {amount}",
        )


def consenting(intended: Intended, survey: Survey) -> Iterator[Transaction]:
    """By a reserve other than the owner: consent to this market, and let its tokens be taken.

    The consent has the mandate's own limit and ends with it."""
    terms = intended.mandate
    yield Transaction(
        to=intended.guardian,
        data=CONSENT.encode(intended.market, terms.limit_max, terms.limit_per_second, terms.expiry),
        purpose=f"let the positions of {intended.owner} use this reserve",
    )
    yield from reserve_allowances(intended, survey)


def allowing_move(intended: Intended, move: IntendedMove) -> Transaction:
    """Let margin be moved: by the owner."""
    terms = (move.floor, move.limit_max, move.limit_per_second, intended.mandate.expiry)
    return Transaction(
        to=intended.guardian,
        data=ALLOW_MOVE.encode(intended.market, move.market, *terms),
        purpose=f"let margin be moved from {move.market} down to health {move.floor / WAD:g}",
    )


def _ending_move(intended: Intended) -> Transaction:
    return Transaction(
        to=intended.guardian,
        data=ALLOW_MOVE.encode(intended.market, NOBODY, 0, 0, 0, 0),
        purpose="let no margin be moved any more",
    )


def _may_move(charter: Charter | None) -> bool:
    return charter is not None and (charter.source is not None or charter.source_unread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Tokens whose allowance another mandate with the same guardian lives on, too."""

    reserve: frozenset[Address] = frozenset()
    collateral: frozenset[Address] = frozenset()
    """What is lent of them."""


def revoking(
    intended: Intended, survey: Survey, charter: Charter | None, shared: Shared
) -> Iterator[Transaction]:
    """End what is in force of the mandate, and every allowance of the owner's that it lived on, but
    for those that are shared: by the owner. A guardian refuses to revoke what is revoked already."""
    if _may_move(charter):
        yield _ending_move(intended)
    if charter is not None and charter.mandate is not None:
        yield Transaction(
            to=intended.guardian,
            data=REVOKE_MANDATE.encode(intended.market),
            purpose="revoke the mandate",
        )
    for collateral, left in survey.a_token_allowances.items():
        if left and collateral not in shared.collateral:
            yield _approval(
                intended.a_tokens[collateral], intended.guardian, 0, "end the use of collateral"
            )
    if intended.delegation and survey.delegated:
        yield Transaction(
            to=intended.delegation,
            data=DelegateApproval.REVOKE.encode(intended.guardian, OPEN_POSITION),
            purpose="end the delegation of positions",
        )
    if intended.mandate.reserve == intended.owner:
        for token, left in survey.reserve_allowances.items():
            if left and token not in shared.reserve:
                yield _approval(token, intended.guardian, 0, "end the use of the reserve")


def freezing(intended: Intended) -> Transaction:
    """Stop everything: by the freezer or the owner."""
    return Transaction(
        to=intended.guardian, data=FREEZE.encode(intended.market), purpose="freeze the mandate"
    )


def unfreezing(intended: Intended) -> Transaction:
    """Let it go on: by the owner."""
    return Transaction(
        to=intended.guardian, data=UNFREEZE.encode(intended.market), purpose="unfreeze the mandate"
    )


def _allowing(
    token: Address, guardian: Address, amount: Amount, current: int, purpose: str
) -> Iterator[Transaction]:
    """Tokens such as USDT refuse to change an allowance that is not zero."""
    if current == amount.raw:
        return
    if current:
        yield _approval(token, guardian, 0, "end the old allowance")
    yield _approval(token, guardian, amount.raw, purpose)


def _approval(token: Address, spender: Address, raw: int, purpose: str) -> Transaction:
    return Transaction(to=token, data=APPROVE.encode(spender, raw), purpose=purpose)
