"""How pure code asks for chain state.

An adapter never does I/O. It writes what it needs as a generator that yields a tuple of calls and
receives their returns, and ends with the decoded value:

    def read_something(...) -> Reading[Something]:
        returns = yield (Call(...), Call(...))
        return Something(first=returns.word(0), ...)

One reader drives many readings in lockstep: the calls of all of them go out in one round trip, all
at one block hash. A reading that yields twice costs two round trips.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from keeper.model.units import Address

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One view call."""

    target: Address
    data: bytes


Calls = tuple[Call, ...]


class ReadingError(Exception):
    """Something could not be read as expected; other readings of the same pass are not affected."""


class CallFailedError(ReadingError):
    """A view call that must succeed reverted."""

    def __init__(self, index: int, output: bytes) -> None:
        super().__init__(f"view call {index} reverted with {'0x' + output.hex() or 'no data'}")
        self.index = index
        self.output = output


class Returns(Protocol):
    """What the calls of one yield returned, in their order."""

    def ok(self, index: int) -> bool:
        """Whether the call succeeded (a call to an address without code succeeds with no data)."""
        ...

    def output(self, index: int) -> bytes:
        """The return data; raises `CallFailedError` if the call reverted."""
        ...

    def word(self, index: int) -> int:
        """The return data's first 32 bytes as an unsigned integer; raises `CallFailedError` if the
        call reverted or returned less."""
        ...

    def words(self) -> NDArray[np.uint8]:
        """The first word of every return, (calls, 32), big-endian; zero where `has_word` is not."""
        ...

    def has_word(self) -> NDArray[np.bool_]:
        """Which calls succeeded with at least 32 bytes, (calls,)."""
        ...


Reading = Generator[Calls, Returns, T]
