"""Whom a perp venue's accounts have let trade for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from eth_utils.crypto import keccak

from keeper.abi.perp_v2 import ClearingHouse, DelegateApproval
from keeper.abi.words import encode_word, split_words, word_to_address
from keeper.chain.event_logs import Progress, logs_between
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.model.reading import Reading, ReadingError
from keeper.model.units import Address
from keeper.model.values import Head
from keeper.protocols.perp_v2_market import no_venue

APPROVED = "0x" + keccak(text="DelegationApproved(address,address,uint8)").hex()
"""interface/IDelegateApproval.sol of @perp/curie-contract 2.8.4; the trader alone is indexed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """`delegate` may open, grow, turn and reduce the account's positions."""

    account: Address
    market: str
    delegate: Address
    actions: int
    """The bits that are given, of which the first alone has a use."""


async def open_delegations(
    rpc: Rpc,
    reader: Reader,
    *,
    market: str,
    clearing_house: Address,
    accounts: Sequence[Address],
    head: Head,
    from_block: int,
    progress: Progress,
) -> list[Delegation]:
    """Every delegation in force that an event since `from_block` speaks of.

    Raises what `logs_between` and `approval_of` raise."""
    approval = await approval_of(reader, market, clearing_house, at=head.hash)
    topics = [APPROVED, ["0x" + encode_word(account).hex() for account in accounts]]
    logs = await logs_between(
        rpc, {"address": approval, "topics": topics}, from_block, head.number, progress
    )
    pairs = dict.fromkeys(
        (
            word_to_address(int(log["topics"][1], 16)),
            word_to_address(split_words(bytes.fromhex(log["data"][2:]))[0]),
        )
        for log in logs
    )
    if not pairs:
        return []
    (given,), _ = await reader.read([_given(approval, list(pairs))], at=head.hash)
    if isinstance(given, ReadingError):
        raise given
    return [
        Delegation(account=account, market=market, delegate=delegate, actions=actions)
        for (account, delegate), actions in zip(pairs, given, strict=True)
        if actions
    ]


async def approval_of(reader: Reader, market: str, clearing_house: Address, *, at: str) -> Address:
    """A venue's DelegateApproval. Raises `UnsupportedVenueError` where none answers."""
    (found,), _ = await reader.read([_approval(market, clearing_house)], at=at)
    if isinstance(found, ReadingError):
        raise found
    approval: Address = found
    return approval


def _approval(market: str, clearing_house: Address) -> Reading[Address]:
    returns = yield (ClearingHouse.GET_DELEGATE_APPROVAL(clearing_house),)
    if not returns.has_word()[0]:
        raise no_venue(f"[markets.{market}] ClearingHouse {clearing_house}")
    return word_to_address(returns.word(0))


def _given(approval: Address, pairs: Sequence[tuple[Address, Address]]) -> Reading[list[int]]:
    returns = yield tuple(DelegateApproval.GET_APPROVED_ACTIONS(approval, *pair) for pair in pairs)
    return [returns.word(place) for place in range(len(pairs))]
