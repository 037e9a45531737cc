"""Before a send: do the other endpoints see what the plan was made on, at the same block?

Each live one is asked for the block and for the account as the protocol tells it, in one POST,
beside the simulation. One that does not answer says nothing; one that has the block and reads
another position, or that follows another chain of blocks, contradicts. One that has only the block
before is asked again in a moment. A block that none of the others has might be made up: it is not
acted upon, and the next one only if they bear out what was seen in it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import structlog

from keeper.abi.multicall import MalformedAnswerError, decode_aggregate3, encode_aggregate3
from keeper.chain.account import nonce_request
from keeper.chain.header import decode_head
from keeper.chain.pool import Endpoint, Pool
from keeper.chain.reader import CHUNK_GAS
from keeper.chain.rpc import EndpointUnavailableError, Request, RpcError, quantity
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
LOOKS = 4
"""How often a witness that has only the block before is asked."""
PAUSE_S = 0.25
"""Between them: what nodes usually need to hear of a block is less than all of it."""
RECENT_S = 60
"""Of block time: what was seen longer ago bears nothing out."""


class Word(Enum):
    """What one witness says of one position."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    BEHIND = "behind"
    """It has the block before, not this one."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """One witness and its word, with the difference if there is one."""

    witness: Endpoint
    word: Word
    difference: str = ""


class Witnesses:
    """Asks every live endpoint beside the one that the snapshot was read from."""

    def __init__(
        self, *, pool: Pool, multicall: Address, notifier: Notifier, pause_s: float = PAUSE_S
    ) -> None:
        self._pool = pool
        self._multicall = multicall
        self._notifier = notifier
        self._pause_s = pause_s
        self._contradicted_at: dict[PositionId, int] = {}
        self._unseen: tuple[Endpoint, Snapshot] | None = None

    async def objections(self, plans: Sequence[Trial], snapshot: Snapshot) -> list[str | None]:
        """Why each plan may not be sent for what the others say; None where it may."""
        if len(self._pool.readers) == 1:
            return [None] * len(plans)
        assert snapshot.reader is not None
        reader, witnesses = snapshot.reader, self._pool.beside(snapshot.reader)
        before = self._seen_before(reader, snapshot.head)
        heard = await asyncio.gather(
            *(self._testimonies(witness, plans, snapshot, before) for witness in witnesses)
        )
        words = {each.word for told in heard for each in told}
        self._unseen = None if Word.AGREES in words else (reader, snapshot)
        if Word.BEHIND in words and not words & {Word.AGREES, Word.CONTRADICTS}:
            number = snapshot.head.number
            reason = f"only {reader.name} has block {number} yet: looking again at the next block"
            return [reason] * len(plans)
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

    def _seen_before(self, reader: Endpoint, head: Head) -> Snapshot | None:
        """What the same reader showed in a block before that nobody else bore out then."""
        if self._unseen is None or self._unseen[0] is not reader:
            return None
        before = self._unseen[1]
        is_recent = head.timestamp - before.head.timestamp <= RECENT_S
        return before if is_recent and before.head.number < head.number else None

    async def _testimonies(
        self,
        witness: Endpoint,
        plans: Sequence[Trial],
        snapshot: Snapshot,
        before: Snapshot | None,
    ) -> list[Testimony]:
        """One POST, repeated while it has only the block before: the blocks, and each account as the
        protocol tells it in them."""
        at = [snapshot] if before is None else [snapshot, before]
        blocks = blocks_of(*(each.head for each in at))
        requests = [
            *blocks,
            *(
                request
                for each in at
                for trial in plans
                for request in (
                    self._call(trial, each.head),
                    nonce_request(trial.proposal.signer, each.head),
                )
            ),
        ]
        looks = 0
        while True:
            try:
                answers = await witness.batch(requests, patience_s=WITHIN_S)
            except EndpointUnavailableError:
                return [Testimony(witness=witness, word=Word.SILENT)] * len(plans)
            word, difference = word_of_blocks(answers[: len(blocks)], *(each.head for each in at))
            looks += 1
            if word is not Word.BEHIND or looks == LOOKS:
                break
            await asyncio.sleep(self._pause_s)
        told = answers[len(blocks) :]
        if word is Word.AGREES:
            return _testimonies_at(witness, plans, told[: 2 * len(plans)], snapshot)
        if word is Word.BEHIND and before is not None:
            return _testimonies_at(witness, plans, told[2 * len(plans) :], before)
        return [Testimony(witness=witness, word=word, difference=difference)] * len(plans)

    def _call(self, trial: Trial, head: Head) -> Request:
        reads = encode_aggregate3(trial.market.reread_calls(trial.plan.action.position.account))
        call = {"to": self._multicall, "data": "0x" + reads.hex(), "gas": hex(CHUNK_GAS)}
        return Request(method="eth_call", params=(call, {"blockHash": head.hash}))


def blocks_of(head: Head, before: Head | None = None) -> list[Request]:
    """The questions to which `word_of_blocks` reads the answers."""
    hashes = [head.hash, head.parent_hash, *([before.hash] if before else [])]
    return [Request(method="eth_getBlockByHash", params=(of, False)) for of in hashes]


def word_of_blocks(
    answers: Sequence[Any | RpcError], head: Head, before: Head | None = None
) -> tuple[Word, str]:
    """What a witness says of a head by the blocks that it has; `before` is an earlier one that it
    did not have. It contradicts if it has another block by that hash, or neither the head nor its
    parent, and if it still does not have the earlier one."""
    block, parent, *earlier = answers
    if block is None and parent is None:
        return Word.CONTRADICTS, f"it knows neither block {head.number} nor the one before"
    if block is None and before is not None and earlier == [None]:
        return Word.CONTRADICTS, f"it never had block {before.number}"
    try:
        if isinstance(block, dict):
            difference = _other_block(decode_head(block), head)
            return (Word.CONTRADICTS if difference else Word.AGREES), difference
        if block is not None or not isinstance(parent, dict):
            return Word.SILENT, ""
        difference = _not_its_parent(decode_head(parent), head)
        if before is not None and not difference and isinstance(earlier[0], dict):
            difference = _other_block(decode_head(earlier[0]), before)
    except EndpointUnavailableError:
        return Word.SILENT, ""
    return (Word.CONTRADICTS if difference else Word.BEHIND), difference


def _other_block(theirs: Head, ours: Head) -> str:
    """In what the blocks of one hash differ: only a hash over it all would tell which is real, and
    chains differ in what they hash. By the head's time the limits of a day are counted, by its base
    fee what is offered."""
    return "; ".join(
        f"of block {ours.hash} the {name} is {getattr(theirs, name)}, not {getattr(ours, name)}"
        for name in ("number", "hash", "parent_hash", "timestamp", "base_fee_wei")
        if getattr(theirs, name) != getattr(ours, name)
    )


def _not_its_parent(parent: Head, head: Head) -> str:
    """Why a block cannot follow on the one that it names as its parent; empty if it can."""
    if (parent.hash, parent.number) != (head.parent_hash, head.number - 1):
        return f"block {head.number} does not follow on block {parent.number}"
    if parent.timestamp > head.timestamp:
        return f"block {head.number} is older than the one before"
    return ""


def _testimonies_at(
    witness: Endpoint, plans: Sequence[Trial], answers: Sequence[Any], snapshot: Snapshot
) -> list[Testimony]:
    """`answers`: of each plan the account as the protocol tells it, and its signer's nonce."""
    return [
        _testimony(witness, trial, answer, nonce, snapshot)
        for trial, answer, nonce in zip(plans, answers[::2], answers[1::2], strict=True)
    ]


def _testimony(
    witness: Endpoint, trial: Trial, answer: Any, nonce: Any, snapshot: Snapshot
) -> Testimony:
    position, market = trial.plan.action.position, trial.market
    account = position.account
    calls = len(market.reread_calls(account))
    try:
        if isinstance(answer, RpcError):
            raise answer
        results = decode_aggregate3(bytes.fromhex(answer[2:]), calls)
        seen = market.reread(account, results, snapshot.head.timestamp)
        difference = other_nonce(snapshot, trial.proposal.signer, nonce) or differences(
            market, snapshot.markets[position.market], seen, account
        )
    except (RpcError, MalformedAnswerError, ReadingError, KeyError, TypeError, ValueError) as error:
        log.info("witness.unreadable", endpoint=witness.name, reason=str(error))
        return Testimony(witness=witness, word=Word.SILENT)
    return Testimony(
        witness=witness,
        word=Word.CONTRADICTS if difference else Word.AGREES,
        difference=difference,
    )


def other_nonce(snapshot: Snapshot, signer: Address, told: Any) -> str:
    """What a witness says of a signer's nonce, where that is not what was read; empty if it is the
    same, or if either does not tell."""
    theirs, ours = quantity(told), snapshot.nonces.get(signer)
    if theirs is None or ours is None or theirs == ours:
        return ""
    return f"the next nonce of {signer} is {theirs}, not {ours}"


def differences(
    market: WatchedMarket, ours: MarketSnapshot, theirs: MarketSnapshot, account: Address
) -> str:
    """Between two views of one account; empty if both are the same to the last unit: health and
    values, and so the prices, and what the protocol holds. Raises the `ReadingError` of an account
    that either does not have."""
    one, other = ours.position(account), theirs.position(account)
    found = [
        f"{name} is {getattr(other, name)}, not {getattr(one, name)}"
        for name in ("health", "collateral_usd8", "debt_usd8")
        if getattr(other, name) != getattr(one, name)
    ]
    return "; ".join([*found, *market.adapter.matches(one, other)])
