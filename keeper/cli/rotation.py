"""Moving mandates from one key to another: drained, set by their owners, looked at again."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from keeper.admission import checked, opened
from keeper.chain.heads import Heads
from keeper.chain.kill_file import Order, order, ordered
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.cli import owner
from keeper.cli.ordering import WAITING
from keeper.cli.output import show
from keeper.config import Settings, default_path, load_settings
from keeper.config.checks import check_signer
from keeper.config.settings import PositionSettings
from keeper.mandate.charter import Charter, read_charter, set_mandate
from keeper.model.errors import ConfigurationError, TemporaryError
from keeper.model.mandate import Mandate
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.model.values import Transaction
from keeper.service.logging import configure_logging
from keeper.storage import views
from keeper.watching import guardian_refusals

T = TypeVar("T")
POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One mandate to be set anew for another key."""

    position: PositionSettings
    guardian: Address
    market: Address
    owner: Address
    mandate: Mandate
    """As it is in force."""
    to: Address

    @property
    def transaction(self) -> Transaction:
        """The same terms, for the new key. What was spent of its limit stays spent."""
        terms = replace(self.mandate, keeper=self.to)
        purpose = f"let {self.to} act for {self.owner}, and {self.mandate.keeper} no more"
        return Transaction(to=self.guardian, data=set_mandate(self.market, terms), purpose=purpose)


class Rotation:
    """Of all mandates of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kill_file = settings.breakers.kill_file

    @classmethod
    def of(cls, config: Path | None) -> Rotation:
        """Raises `ConfigurationError`."""
        settings = load_settings(config or default_path())
        configure_logging("warning", secrets=settings.secrets)
        return cls(settings)

    def look(self) -> list[Move]:
        """The mandates that name another key than their position's signer has.

        Raises `ConfigurationError` for a position whose key cannot be changed, or a new key that
        cannot be used."""
        return self._asked(self._moves)

    def show(self, moves: Sequence[Move]) -> None:
        """What would be moved."""
        table = Table(title="mandates to move", title_justify="left")
        for heading in ("position", "signer", "from", "to"):
            table.add_column(heading)
        for move in moves:
            label, signer = move.position.label, move.position.signer
            table.add_row(Text(label), Text(signer), move.mandate.keeper, move.to)
        show(table)

    def write(self, moves: Sequence[Move], path: Path) -> None:
        """A batch for the Safe that owns them. Nothing is paused meanwhile: until its owners have
        signed, the old key goes on protecting.

        Raises `ConfigurationError` where they have several owners."""
        owners = {move.owner for move in moves}
        if len(owners) > 1:
            raise self._settings.error(
                "positions",
                what=f"the mandates have {len(owners)} owners",
                why="a batch is of one Safe",
                fix="write one configuration for each owner, with its positions alone",
            )
        self._have_set(owners.pop(), moves, path)
        print(
            "\nThe old key goes on until the batch is executed. Then restart the keeper, which acts with "
            "the new one; `keeper key rotate` tells whether anything is left."
        )

    def carry_out(self, moves: Sequence[Move], *, wait_s: int, yes: bool) -> None:
        """Drain, set, look again. Where it fails, the keeper may sign again as before."""
        if not yes and not owner.agreed(len(moves)):
            print("nothing was sent", file=sys.stderr)
            raise typer.Exit(1)
        with self._paused():
            self._drain({move.mandate.keeper for move in moves}, wait_s)
            for each in dict.fromkeys(move.owner for move in moves):
                self._have_set(each, [move for move in moves if move.owner == each], None)
            if left := self.look():
                raise TemporaryError(
                    f"{len(left)} mandates still name the old key: run the command again"
                )
        print(
            f"revoked: {', '.join(sorted({move.mandate.keeper for move in moves}))} may do nothing any "
            "more; send what coin it has left elsewhere\n"
            "The keeper is paused. Restart it, so that it takes the new key, then: keeper resume\n"
            "Write the new key as `keeper` into [mandates], so that the next `keeper mandate set` keeps "
            "it."
        )

    # -- steps -------------------------------------------------------------------------------------

    @contextmanager
    def _paused(self) -> Iterator[None]:
        before = ordered(self._kill_file)
        if before is Order.RUN:
            order(self._kill_file, Order.PAUSE)
            print(f"{self._kill_file}: nothing more is signed from here on", flush=True)
        try:
            yield
        except BaseException:
            if before is Order.RUN:
                order(self._kill_file, Order.RUN)
                print("keeper: it may sign again, with the old key", file=sys.stderr)
            raise

    def _drain(self, keys: set[Address], wait_s: int) -> None:
        """Until the journal waits for nothing and no node knows of a transaction that is not mined.

        Raises `TemporaryError`."""
        deadline = time.monotonic() + wait_s
        while waiting := [*self._in_journal(), *self._asked(lambda rpc: _unmined(rpc, keys))]:
            if time.monotonic() > deadline:
                raise TemporaryError(
                    f"still in flight after {wait_s} s: {', '.join(waiting)}; nothing was moved. Try "
                    "again when it is mined, or with a longer --wait"
                )
            time.sleep(POLL_S)
        print("drained: nothing of the old key is in flight", flush=True)

    def _in_journal(self) -> list[str]:
        path = self._settings.store_path
        return [
            f"{each.purpose} with nonce {each.nonce}"
            for decision in (views.history(path) if path.exists() else [])
            for each in decision.transactions
            if each.state in WAITING
        ]

    def _have_set(self, account: Address, moves: Sequence[Move], batch: Path | None) -> None:
        refusal = guardian_refusals()
        owner.carry_out(
            self._settings,
            account=account,
            transactions=[move.transaction for move in moves],
            explain=lambda _, output: refusal(output) or "",
            title="Keeper: new key",
            safe_batch=batch,
            yes=True,
        )

    async def _moves(self, rpc: Rpc) -> list[Move]:
        local = await checked(rpc, self._settings)
        head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
        reader = Reader(rpc, multicall=self._settings.chain.multicall)
        signers: dict[str, Address] = {}
        moves: dict[tuple[Address, Address], Move] = {}
        for position in self._settings.positions:
            guardian, signer = position.guardian, position.signer
            if guardian is None:
                raise self._no_guardian(position)
            market = self._settings.markets[position.market].entry
            (charter,), _ = await reader.read([read_charter(guardian, market)], at=head.hash)
            if isinstance(charter, ReadingError):
                raise charter
            if signer not in signers:
                key = await opened(self._settings, signer)
                signers[signer] = key.address
                await key.close()
            to = signers[signer]
            check_signer(self._settings, position, to, local=local)
            if charter.mandate is not None and charter.mandate.keeper != to:
                await self._check_gas(rpc, position, to, head.hash)
                moves[guardian, market] = _move(position, guardian, market, charter, to)
        return list(moves.values())

    async def _check_gas(self, rpc: Rpc, position: PositionSettings, key: Address, at: str) -> None:
        balance_wei = int(await rpc.read("eth_getBalance", key, {"blockHash": at}), 16)
        needed_wei = self._settings.service.min_gas_wei
        if balance_wei < needed_wei:
            raise self._settings.error(
                "positions",
                self._settings.positions.index(position),
                "signer",
                what=f"the new key {key} has {balance_wei / 1e18:.6f} of the chain's coin",
                why=f"less than {needed_wei / 1e18:.6f} does not pay for the next action",
                fix="send it some, then run this again",
            )

    def _no_guardian(self, position: PositionSettings) -> ConfigurationError:
        return self._settings.error(
            "positions",
            self._settings.positions.index(position),
            "signer",
            what=f"\"{position.label}\" has no guardian: its signer's key is the account's own",
            why="an account cannot change its key; whoever has the old one has the account",
            fix="move the position to a new account, or set up a guardian (docs/MANDATE.md)",
        )

    def _asked(self, ask: Callable[[Rpc], Coroutine[Any, Any, T]]) -> T:
        async def asking() -> T:
            rpc = Rpc(self._settings.chain.rpc_url)
            try:
                return await ask(rpc)
            finally:
                await rpc.close()

        return asyncio.run(asking())


def _move(
    position: PositionSettings, guardian: Address, market: Address, charter: Charter, to: Address
) -> Move:
    assert charter.mandate is not None
    return Move(
        position=position,
        guardian=guardian,
        market=market,
        owner=charter.owner,
        mandate=charter.mandate,
        to=to,
    )


async def _unmined(rpc: Rpc, keys: set[Address]) -> list[str]:
    """What a node holds of an account's transactions beyond those in blocks."""
    found = []
    head = await Heads(rpc, ws_url=None, poll_interval_s=1.0).current()
    for key in sorted(keys):
        mined, known = [
            int(await rpc.read("eth_getTransactionCount", key, at), 16)
            for at in ({"blockHash": head.hash}, "pending")
        ]
        found += [f"nonce {nonce} of {key}" for nonce in range(mined, known)]
    return found
