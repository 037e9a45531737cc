"""What tokens an account has let others take: every allowance it ever gave that is still open.

Given in the tokens' Approval events, asked for over all blocks in ranges as wide as the endpoint
answers; what is left of each is read from the token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.abi.erc20 import ALLOWANCE, DECIMALS, SYMBOL, decode_symbol
from keeper.abi.words import encode_word
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc, RpcError, retry_reads
from keeper.model.reading import Reading, ReadingError, Returns
from keeper.model.units import Address
from keeper.model.values import Head

APPROVAL = "0x" + keccak(text="Approval(address,address,uint256)").hex()
"""EIP-20's event. ERC-721 uses the same with a fourth topic, which tells them apart."""
FEWEST_BLOCKS = 100
"""An endpoint that refuses so few blocks refuses for another reason."""
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


Progress = Callable[[int], None]
"""Told up to which block was asked."""


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
    call = retry_reads(rpc.call)
    found: dict[Pair, None] = {}
    first, width = from_block, max(to_block - from_block + 1, 1)
    while first <= to_block:
        last = min(first + width - 1, to_block)
        try:
            logs = await call(
                "eth_getLogs",
                {"fromBlock": hex(first), "toBlock": hex(last), "topics": topics},
            )
        except RpcError:
            # Endpoints cap blocks or results, each with words of its own.
            if width <= FEWEST_BLOCKS:
                raise
            width //= 2
            continue
        found |= dict.fromkeys(_pair(log) for log in logs if len(log["topics"]) == 3)
        first = last + 1
        progress(last)
    return list(found)


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
