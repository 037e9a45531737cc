"""A guardian's action measured beside the naked protocol calls that do the same, as a row of a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from keeper.devnet.artifacts import Contract
from keeper.devnet.chain import LocalChain
from keeper.model.units import Address
from tests.guardian.ground import frames

TRANSACTION_GAS: Final = 21_000

Naked = tuple[Contract, str, tuple[Any, ...]]


class Acting(Protocol):
    """An owner, a keeper and a guardian on a chain."""

    owner: Address
    keeper: Address
    guardian: Contract

    @property
    def chain(self) -> LocalChain: ...

    def send(self, sender: Address, function: str, *arguments: object) -> dict[str, Any]: ...

    def events(self, receipt: Mapping[str, Any]) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Gas used, refunds taken off."""

    action: str
    guardian: int
    health: int
    naked: int
    naked_transactions: int

    @property
    def in_one(self) -> int:
        """The naked calls in one transaction."""
        return self.naked - TRANSACTION_GAS * (self.naked_transactions - 1)


def measured(
    made: Acting,
    action: str,
    call: tuple[Any, ...],
    naked: Callable[[dict[str, Any]], Sequence[Naked]],
    health: Sequence[str],
) -> Row:
    """The keeper's call, and from the same state what the owner would send for what it moved, as its
    event tells. `health` are the selectors of the calls that tell the account's health."""
    asked = frames(made.chain, made.guardian, made.keeper, call, *health)
    state = made.chain.snapshot()
    receipt = made.send(made.keeper, *call)
    calls = naked(made.events(receipt)[-1])
    made.chain.revert(state)
    used = [
        made.chain.transact(made.owner, contract, function, *arguments)["gasUsed"]
        for contract, function, arguments in calls
    ]
    return Row(
        action=action,
        guardian=int(receipt["gasUsed"], 16),
        health=sum(int(frame["gasUsed"], 16) for frame in asked),
        naked=sum(int(gas, 16) for gas in used),
        naked_transactions=len(calls),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| action | guardian | of it health | naked calls | ratio | in one | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.action} | {row.guardian:,} | {row.health:,} "
        f"| {row.naked:,} | {row.guardian / row.naked:.2f} "
        f"| {row.in_one:,} | {row.guardian / row.in_one:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)
