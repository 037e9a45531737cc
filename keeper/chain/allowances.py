"""What tokens an account has let others take: every allowance it ever gave that is still open.

Given in the tokens' Approval events, asked for over all blocks in ranges as wide as the endpoint
answers; what is left of each is read from the token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.abi.erc20 import ALLOWANCE, DECIMALS, SYMBOL, decode_symbol
from keeper.abi.words import encode_word
from keeper.chain.event_logs import Progress, logs_between
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.model.reading import Reading, ReadingError, Returns
from keeper.model.units import Address
from keeper.model.values import Head

APPROVAL = "0x" + keccak(text="Approval(address,address,uint256)").hex()
"""EIP-20's event. ERC-721 uses the same with a fourth topic, which tells them apart."""
LONGEST_SYMBOL = 16
"""Anybody can send an approval event of a token with a name of their choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What `spender` may take of the owner's tokens."""

    owner: Address
    token: Address
    spender: Address
    raw: int
    symbol: str
    """Empty where the token has none, and `decimals` None likewise."""
    decimals: int | None


async def open_allowances(
    rpc: Rpc,
    reader: Reader,
    owners: Sequence[Address],
    *,
    head: Head,
    from_block: int,
    progress: Progress,
) -> list[Allowance]:
    """Every allowance above zero that an Approval event since `from_block` speaks of.

    Raises `RpcError` where the endpoint gives no events, `EndpointUnavailableError`."""
    spoken_of = await _spoken_of(rpc, owners, from_block, head.number, progress)
    if not spoken_of:
        return []
    (found,), _ = await reader.read([_left(spoken_of)], at=head.hash)
    if isinstance(found, ReadingError):
        raise found
    return [allowance for allowance in found if allowance.raw > 0]


Pair = tuple[Address, Address, Address]
"""Owner, token and spender."""


async def _spoken_of(
    rpc: Rpc, owners: Sequence[Address], from_block: int, to_block: int, progress: Progress
) -> list[Pair]:
    topics = [APPROVAL, ["0x" + encode_word(owner).hex() for owner in owners]]
    logs = await logs_between(rpc, {"topics": topics}, from_block, to_block, progress)
    return list(dict.fromkeys(_pair(log) for log in logs if len(log["topics"]) == 3))


def _pair(log: dict[str, Any]) -> Pair:
    return (
        _address(log["topics"][1]),
        Address(to_checksum_address(log["address"])),
        _address(log["topics"][2]),
    )


def _address(topic: str) -> Address:
    return Address(to_checksum_address("0x" + topic[-40:]))


def _left(pairs: Sequence[Pair]) -> Reading[list[Allowance]]:
    tokens = list(dict.fromkeys(token for _, token, _ in pairs))
    returns = yield (
        *(ALLOWANCE(token, owner, spender) for owner, token, spender in pairs),
        *(SYMBOL(token) for token in tokens),
        *(DECIMALS(token) for token in tokens),
    )
    symbols = {t: _symbol(returns, len(pairs) + n) for n, t in enumerate(tokens)}
    decimals = {t: _word(returns, len(pairs) + len(tokens) + n) for n, t in enumerate(tokens)}
    return [
        Allowance(
            owner=owner,
            token=token,
            spender=spender,
            raw=_word(returns, index) or 0,
            symbol=symbols[token],
            decimals=decimals[token],
        )
        for index, (owner, token, spender) in enumerate(pairs)
    ]


def _word(returns: Returns, index: int) -> int | None:
    try:
        return returns.word(index)
    except ReadingError:
        return None


def _symbol(returns: Returns, index: int) -> str:
    try:
        said = decode_symbol(returns.output(index))[:LONGEST_SYMBOL]
    except (ReadingError, DecodingError):
        return ""
    return said if said.isprintable() else ""
