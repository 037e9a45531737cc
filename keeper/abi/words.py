"""Functions whose arguments are single words, encoded without a general ABI coder."""

from dataclasses import dataclass, field

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from keeper.model.reading import Call
from keeper.model.units import Address

WORD = 32
MAX_UINT256 = 2**256 - 1


@dataclass(frozen=True, slots=True)
class Function:
    """A contract function named by its canonical signature, every argument of it one static word.

    Calling it with a target gives the view call; `encode` gives the calldata alone. Addresses are
    passed as strings, numbers and booleans as non-negative integers; anything that does not fit
    its word raises.
    """

    signature: str
    selector: bytes = field(init=False)
    arity: int = field(init=False)

    def __post_init__(self) -> None:
        arguments = self.signature.partition("(")[2].removesuffix(")")
        object.__setattr__(self, "selector", keccak(text=self.signature)[:4])
        object.__setattr__(self, "arity", arguments.count(",") + 1 if arguments else 0)

    def __call__(self, target: Address, *arguments: Address | int) -> Call:
        return Call(target=target, data=self.encode(*arguments))

    def encode(self, *arguments: Address | int) -> bytes:
        """Selector and argument words; raises `ValueError` or `OverflowError` if they do not fit."""
        if len(arguments) != self.arity:
            raise ValueError(f"{self.signature} takes {self.arity} words, not {len(arguments)}")
        return self.selector + b"".join(map(encode_word, arguments))

    def decode(self, data: bytes) -> tuple[int, ...] | None:
        """The argument words of calldata; None unless it is a call of this function and no more."""
        if data[:4] != self.selector or len(data) != 4 + self.arity * WORD:
            return None
        return split_words(data[4:])


def encode_word(value: Address | int) -> bytes:
    """One argument as 32 bytes, big-endian. Raises `OverflowError` below 0 or above 2^256 − 1."""
    if isinstance(value, int):
        return value.to_bytes(WORD, "big")
    return address_bytes(value).rjust(WORD, b"\0")


def address_bytes(address: Address) -> bytes:
    """The 20 bytes of an address."""
    raw = bytes.fromhex(address[2:])
    if len(raw) != 20:
        raise ValueError(f"{address} is not an address: 20 bytes in hexadecimal after 0x")
    return raw


def split_words(output: bytes) -> tuple[int, ...]:
    """A static return as unsigned integers, one per word; bytes beyond the last word are ignored."""
    return tuple(
        int.from_bytes(output[start : start + WORD], "big")
        for start in range(0, len(output) - len(output) % WORD, WORD)
    )


def word_to_address(word: int) -> Address:
    """The address in a word's low 20 bytes."""
    return Address(to_checksum_address((word % (1 << 160)).to_bytes(20, "big")))


def word_to_signed(word: int) -> int:
    """The signed integer that a word holds, in two's complement."""
    return word - (1 << 256) if word >> 255 else word
