"""What every adapter may have to say of an account, a market or a revert that it cannot use."""

from collections.abc import Mapping

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from keeper.model.reading import ReadingError
from keeper.model.values import PositionId

_ERROR_STRING = bytes.fromhex("08c379a0")
"""Selector of Error(string)."""
_PANIC = bytes.fromhex("4e487b71")
"""Selector of Panic(uint256)."""


class MarketChangedError(ReadingError):
    """The market is no longer as discovered: discover it again before its next reading."""


class UnreadablePositionError(ReadingError):
    """This position cannot be valued at this block; others are not affected."""

    def __init__(self, position: PositionId, reason: str) -> None:
        super().__init__(f"{position}: {reason}")
        self.position = position
        self.reason = reason


def revert_reason(revert: bytes, words: Mapping[str, str]) -> str:
    """A revert's reason, followed by the protocol's own text for it in brackets where `words` knows
    what it means; never raises."""
    if not revert:
        return "reverted without a reason"
    selector, payload = revert[:4], revert[4:]
    if selector == _PANIC and len(payload) == 32:
        return f"arithmetic or array panic 0x{int.from_bytes(payload, 'big'):02x}"
    if selector == _ERROR_STRING:
        try:
            (reason,) = decode(["string"], payload)
        except (DecodingError, UnicodeDecodeError):
            return f"reverted with 0x{revert.hex()}"
        return f"{words[reason]} ({reason})" if reason in words else str(reason)
    return f"reverted with 0x{revert.hex()}"
