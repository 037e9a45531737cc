"""A price feed in memory, one phase of rounds counted from 1."""

from dataclasses import dataclass, field

from eth_abi.abi import encode

from keeper.model.reading import Call
from keeper.model.units import Address, Price
from keeper.protocols.chainlink import DECIMALS, GET_ROUND_DATA, LATEST_ROUND_DATA, Round

PHASE = 1 << 64


@dataclass
class Feed:
    """Rounds as (answer, updated_at); without any it does not answer."""

    address: Address
    rounds: list[tuple[int, int]] = field(default_factory=list)
    decimals: int = 8

    def publish(self, *rounds: tuple[int, int]) -> None:
        self.rounds.extend(rounds)

    def round(self, number: int) -> Round:
        """As it should be read."""
        answer, updated_at = self.rounds[number - 1]
        price = Price(value=answer, decimals=self.decimals, updated_at=updated_at)
        return Round(id=PHASE + number, price=price)

    def view(self, call: Call) -> bytes | None:
        if not self.rounds:
            return None
        match call.data[:4]:
            case LATEST_ROUND_DATA.selector:
                return self._data(len(self.rounds))
            case GET_ROUND_DATA.selector:
                return self._data(int.from_bytes(call.data[4:], "big") - PHASE)
            case DECIMALS.selector:
                return encode(["uint8"], [self.decimals])
        return None

    def _data(self, number: int) -> bytes | None:
        if not 0 < number <= len(self.rounds):
            return None
        answer, updated_at = self.rounds[number - 1]
        return encode(
            ["uint80", "int256", "uint256", "uint256", "uint80"],
            [PHASE + number, answer, updated_at, updated_at, PHASE + number],
        )
