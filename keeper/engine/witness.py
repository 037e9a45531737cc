"""Before a send: do the other endpoints see what the plan was made on, at the same block?

Each live one is asked for the block and for the account as the protocol tells it, in one POST,
beside the simulation. One that does not answer, or that does not have the block yet, says nothing;
one that has it and reads another position, or that follows another chain of blocks, contradicts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

from keeper.abi.multicall import MalformedAnswerError, decode_aggregate3, encode_aggregate3
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.reader import CHUNK_GAS
from keeper.chain.rpc import EndpointUnavailableError, Request, RpcError
from keeper.engine.trial import Trial
from keeper.engine.watch import MarketSnapshot, Snapshot, WatchedMarket
from keeper.model.alerts import Alert, Notifier, Severity
from keeper.model.reading import ReadingError
from keeper.model.units import Address
from keeper.model.values import Head, PositionId
from keeper.policy.agreement import Verdict, weigh

log = structlog.get_logger()

WITHIN_S = 3.0
"""A witness that takes longer says nothing."""


class Word(Enum):
    """What one witness says of one position."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """One witness and its word, with the difference if there is one."""

    witness: Endpoint
    word: Word
    difference: str = ""


class Witnesses:
    """Asks every live endpoint beside the one that reads."""

    def __init__(self, *, pool: Pool, multicall: Address, notifier: Notifier) -> None:
        self._pool = pool
        self._multicall = multicall
        self._notifier = notifier
        self._contradicted_at: dict[PositionId, int] = {}

    async def objections(self, plans: Sequence[Trial], snapshot: Snapshot) -> list[str | None]:
        """Why each plan may not be sent for what the others say; None where it may."""
        if len(self._pool.readers) == 1:
            return [None] * len(plans)
        reader, witnesses = self._pool.in_order()[0], self._pool.others
        heard = await asyncio.gather(
            *(self._testimonies(witness, plans, snapshot) for witness in witnesses)
        )
        return [
            self._judged(trial, reader, [words[index] for words in heard], snapshot.head)
            for index, trial in enumerate(plans)
        ]

    def _judged(
        self, trial: Trial, reader: Endpoint, heard: Sequence[Testimony], head: Head
    ) -> str | None:
        position = trial.plan.action.position
        agree = [each.witness for each in heard if each.word is Word.AGREES]
        against = [each for each in heard if each.word is Word.CONTRADICTS]
        since = self._contradicted_at.get(position)
        waited = since is not None and head.number > since
        verdict = weigh(
            agree=len(agree),
            contradict=len(against),
            waited=waited,
            # A guardian reads the position's health again before it does anything.
            rechecked_on_chain=trial.authority is not None,
        )
        self._tell(position, reader, agree, against, verdict)
        if not against:
            self._contradicted_at.pop(position, None)
            return None
        self._contradicted_at.setdefault(position, head.number)
        if waited and 1 + len(agree) > len(against):
            for each in against:
                each.witness.contradicted()
        elif waited and len(against) > 1 + len(agree):
            # The next block is read elsewhere.
            reader.contradicted()
        names = ", ".join(each.witness.name for each in against)
        match verdict:
            case Verdict.ACT:
                return None
            case Verdict.WAIT:
                return f"{names} contradicts {reader.name}: looking again at the next block"
            case Verdict.REFUSE:
                return f"{names} contradicts {reader.name}, and there is no majority for it"

    def _tell(
        self,
        position: PositionId,
        reader: Endpoint,
        agree: Sequence[Endpoint],
        against: Sequence[Testimony],
        verdict: Verdict,
    ) -> None:
        subject = str(position)
        if against:
            first = against[0]
            self._notifier.notify(
                Alert(
                    name="endpoints.disagree",
                    subject=subject,
                    severity=(Severity.CRITICAL if verdict is Verdict.REFUSE else Severity.WARNING),
                    text=f"{first.witness.name} contradicts {reader.name}: {first.difference}",
                    fields={
                        "reader": reader.name,
                        "against": ", ".join(each.witness.name for each in against),
                        "agree": len(agree),
                        "verdict": verdict.value,
                    },
                )
            )
        else:
            self._notifier.resolve("endpoints.disagree", subject)
        if not agree and not against:
            self._notifier.notify(
                Alert(
                    name="endpoints.alone",
                    severity=Severity.WARNING,
                    text=f"no other endpoint confirms {reader.name}: acting on its word alone",
                    fields={"reader": reader.name},
                )
            )
        elif agree:
            self._notifier.resolve("endpoints.alone")

    async def _testimonies(
        self, witness: Endpoint, plans: Sequence[Trial], snapshot: Snapshot
    ) -> list[Testimony]:
        """One POST: the block, its parent, and each account as the protocol tells it."""
        head = snapshot.head
        requests = [
            Request(method="eth_getBlockByHash", params=(of, False))
            for of in (head.hash, head.parent_hash)
        ]
        for trial in plans:
            account = trial.plan.action.position.account
            reads = encode_aggregate3(trial.market.reread_calls(account))
            call = {"to": self._multicall, "data": "0x" + reads.hex(), "gas": hex(CHUNK_GAS)}
            requests.append(Request(method="eth_call", params=(call, {"blockHash": head.hash})))
        try:
            block, parent, *answers = await witness.batch(requests, patience_s=WITHIN_S)
        except EndpointUnavailableError:
            return [Testimony(witness=witness, word=Word.SILENT)] * len(plans)
        if isinstance(block, dict):
            return [
                _testimony(witness, trial, answer, snapshot)
                for trial, answer in zip(plans, answers, strict=True)
            ]
        if block is None and parent is None:
            lost = f"it knows neither block {head.number} nor the one before"
            return [
                Testimony(witness=witness, word=Word.CONTRADICTS, difference=lost) for _ in plans
            ]
        # It has the block before: it will have this one in a moment.
        return [Testimony(witness=witness, word=Word.SILENT)] * len(plans)


def _testimony(witness: Endpoint, trial: Trial, answer: Any, snapshot: Snapshot) -> Testimony:
    position, market = trial.plan.action.position, trial.market
    account = position.account
    calls = len(market.reread_calls(account))
    try:
        if isinstance(answer, RpcError):
            raise answer
        results = decode_aggregate3(bytes.fromhex(answer[2:]), calls)
        seen = market.reread(account, results, snapshot.head.timestamp)
    except (RpcError, MalformedAnswerError, ReadingError, TypeError, ValueError) as error:
        log.info("witness.unreadable", endpoint=witness.name, reason=str(error))
        return Testimony(witness=witness, word=Word.SILENT)
    difference = _difference(position, market, snapshot, seen)
    return Testimony(
        witness=witness,
        word=Word.CONTRADICTS if difference else Word.AGREES,
        difference=difference,
    )


def _difference(
    position: PositionId, market: WatchedMarket, snapshot: Snapshot, seen: MarketSnapshot
) -> str:
    """Empty if both are the same to the last unit: health and values, and so the prices, and what
    the protocol holds."""
    ours = snapshot.markets[position.market].position(position.account)
    theirs = seen.position(position.account)
    differences = [
        f"{name} is {getattr(theirs, name)}, not {getattr(ours, name)}"
        for name in ("health", "collateral_usd8", "debt_usd8")
        if getattr(theirs, name) != getattr(ours, name)
    ]
    return "; ".join([*differences, *market.adapter.matches(ours, theirs)])
