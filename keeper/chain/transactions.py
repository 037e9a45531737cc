"""The transaction manager: the only code that signs and sends.

An intent with its nonce, raw bytes and hash is in the journal before the bytes leave. Afterwards its
receipt is asked for at every head until it is deep enough. A reorg that takes the receipt back
re-opens it by itself, since nothing is believed but the newest answer; one that takes back what was
settled already is noticed by its nonce. Bytes that the node says it does not have, because they were
lost or dropped, are sent again unchanged until the plan's deadline; after it the plan is over and
its nonces are free. What the node holds in its mempool is waited for, however long.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from keeper.chain.fees import Fees
from keeper.chain.prepare import Prepared
from keeper.chain.rpc import EndpointUnavailableError, JsonRpc, Request, RpcError, retry_reads
from keeper.chain.settings import FeeSettings
from keeper.chain.signer import Signer
from keeper.model.records import Attempt, Intent, MinedReceipt, State
from keeper.model.units import Address, Wei
from keeper.model.values import Head, Transaction

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

NULLS_TO_EXPIRE = 3
"""Heads in a row at which the node must not know a transaction before it counts as lost."""


class IntentJournal(Protocol):
    """What the manager needs of the journal; synchronous, called on the store's thread."""

    def record_intents(self, batch: Sequence[Intent]) -> None: ...
    def move(self, keys: Iterable[str], state: State) -> None: ...
    def record_receipts(self, receipts: Iterable[MinedReceipt]) -> None: ...
    def open_intents(self, chain_id: int) -> list[Intent]: ...
    def next_step(self, episode: int) -> int: ...
    def last_nonce(self, chain_id: int, signer: Address) -> int | None: ...
    def settled_intents(
        self, chain_id: int, signer: Address, from_nonce: int
    ) -> Sequence[Intent]: ...


class BeforeSigning(Protocol):
    """Asked right before every signature."""

    async def __call__(
        self, *, chain_id: int, signer: Address, most_wei: int, replaces: bool
    ) -> str | None:
        """Why it may not be signed, in words for the owner; None if it may."""
        ...


async def nothing_against(
    *,
    chain_id: int,  # noqa: ARG001 - the protocol's signature
    signer: Address,  # noqa: ARG001 - as above
    most_wei: int,  # noqa: ARG001 - as above
    replaces: bool,  # noqa: ARG001 - as above
) -> str | None:
    """Every signature is allowed."""
    return None


class ObjectedError(Exception):
    """A breaker forbids the signature; says why."""


class RunOnStore(Protocol):
    """Runs a synchronous store method on the store's own thread."""

    async def __call__(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A plan whose transactions are all mined deep enough, or will never be."""

    decision_id: int
    intents: tuple[Intent, ...]
    receipt: MinedReceipt | None
    """Of the last transaction, the action itself; None if it was never mined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the node says at one head of the transactions that are open."""

    receipts: dict[str, MinedReceipt]
    missing: frozenset[str]
    """Hashes that it has neither mined nor in its mempool."""
    nonces: dict[Address, int]

    def nonce_used(self, intent: Intent) -> bool:
        return self.nonces.get(intent.signer, 0) > intent.attempt.nonce


class TransactionManager:
    """One chain's outgoing transactions."""

    def __init__(
        self,
        *,
        rpc: JsonRpc,
        chain_id: int,
        signers: dict[Address, Signer],
        fees: FeeSettings,
        confirmations: int,
        journal: IntentJournal,
        run: RunOnStore,
        before_signing: BeforeSigning = nothing_against,
    ) -> None:
        self._rpc = rpc
        self._chain_id = chain_id
        self._signers = signers
        self._fees = fees
        self._confirmations = confirmations
        self._journal = journal
        self._run = run
        self._before_signing = before_signing
        self._open: dict[int, list[Intent]] = {}
        self._nonces: dict[Address, int] = {}
        self._nulls: dict[str, int] = {}

    # -- what is under way -----------------------------------------------------------------------

    async def recover(self) -> None:
        """Take up everything that an earlier run left open, whether it is still watched or not: its
        nonces are taken. The next `settle` finds out what came of it."""
        self._open.clear()
        for intent in await self._run(self._journal.open_intents, self._chain_id):
            self._open.setdefault(intent.decision_id, []).append(intent)
            log.info("intent.recovered", key=intent.key, tx_hash=intent.attempt.hash)

    @retry_reads
    async def reconcile(self, head: Head) -> None:
        """Hold the journal against the chain: every signer's nonce must be explained by what is
        open here and what the journal says was mined."""
        signers = list(self._signers)
        if not signers:
            return
        answers = await self._rpc.batch(
            [
                Request(method="eth_getTransactionCount", params=(signer, {"blockHash": head.hash}))
                for signer in signers
            ]
        )
        for signer, answer in zip(signers, answers, strict=True):
            if isinstance(answer, RpcError):
                log.warning("reconcile.unanswered", signer=signer, reason=str(answer))
                continue
            nonce = int(answer, 16)
            last = await self._run(self._journal.last_nonce, self._chain_id, signer)
            explained = max(self._nonces.get(signer, nonce), 0 if last is None else last + 1)
            if nonce > explained:
                log.error("reconcile.foreign_transactions", signer=signer, count=nonce - explained)
            self._nonces[signer] = nonce

    def busy(self, account: Address) -> bool:
        """Whether a plan of the account is still open: its wallet serves one plan at a time."""
        return any(intent.position.account == account for intent in self._all_open())

    @property
    def idle(self) -> bool:
        """Whether nothing is open."""
        return not self._open

    def outcome_requests(self, head: Head) -> list[Request]:
        """To ride along with the reads of a pass; the answers go to `settle`."""
        of_intents = [
            Request(method=method, params=(intent.attempt.hash,))
            for intent in self._all_open()
            for method in ("eth_getTransactionReceipt", "eth_getTransactionByHash")
        ]
        of_signers = [
            Request(method="eth_getTransactionCount", params=(signer, {"blockHash": head.hash}))
            for signer in self._open_signers()
        ]
        return of_intents + of_signers

    async def settle(self, head: Head, answers: Sequence[Any | RpcError]) -> list[Settled]:
        """Note receipts, send again what the node does not have, and return the plans that are
        over. They stay open until `close`."""
        known = self._known(answers)
        await self._note(known.receipts)
        missing = [i for i in self._all_open() if i.attempt.hash in known.missing]
        self._nulls = {i.key: self._nulls.get(i.key, 0) + 1 for i in missing}
        useless = {i.key for i in missing if self._is_useless(i, known, head)}
        await self._send_in_order([i for i in missing if i.key not in useless])
        # Asked several times, since behind one URL there may be nodes that share no mempool.
        gone = {key for key in useless if self._nulls[key] >= NULLS_TO_EXPIRE}
        settled = []
        for decision_id, intents in self._open.items():
            unmined = [i for i in intents if i.attempt.hash not in known.receipts]
            over = all(i.key in gone for i in unmined)
            states = [self._ended(i, known.receipts, head) for i in intents]
            if over and None not in states:
                settled.append(
                    Settled(
                        decision_id=decision_id,
                        intents=tuple(
                            replace(intent, state=state)
                            for intent, state in zip(intents, states, strict=True)
                            if state is not None
                        ),
                        receipt=known.receipts.get(intents[-1].attempt.hash),
                    )
                )
        return settled

    def _known(self, answers: Sequence[Any | RpcError]) -> "_Known":
        intents, signers = self._all_open(), self._open_signers()
        receipts: dict[str, MinedReceipt] = {}
        missing: set[str] = set()
        pairs = zip(
            answers[0 : 2 * len(intents) : 2], answers[1 : 2 * len(intents) : 2], strict=True
        )
        for intent, (receipt, transaction) in zip(intents, pairs, strict=True):
            if isinstance(receipt, dict):
                receipts[intent.attempt.hash] = _receipt(receipt)
            elif receipt is None and transaction is None:
                # An error is not a "no": only a clear null says that the node does not have it.
                missing.add(intent.attempt.hash)
        counts = zip(signers, answers[2 * len(intents) :], strict=True)
        return _Known(
            receipts=receipts,
            missing=frozenset(missing),
            nonces={s: int(count, 16) for s, count in counts if isinstance(count, str)},
        )

    def _is_useless(self, intent: Intent, known: "_Known", head: Head) -> bool:
        """Whether sending an unknown transaction again would be of no use: its nonce is used, or
        its deadline has passed.

        While a later transaction of the signer waits in the node's queue, this one is the gap
        before it and must be filled, past its deadline too.
        """
        if known.nonce_used(intent):
            return True
        queued_behind = any(
            other.signer == intent.signer
            and other.attempt.nonce > intent.attempt.nonce
            and other.attempt.hash not in known.missing
            and other.attempt.hash not in known.receipts
            for other in self._all_open()
        )
        return head.number > intent.deadline_block and not queued_behind

    def close(self, settled: Settled) -> None:
        """The plan's result is in the journal."""
        del self._open[settled.decision_id]

    def _ended(self, intent: Intent, receipts: dict[str, MinedReceipt], head: Head) -> State | None:
        """The state that ends an intent of a plan without hope of more receipts; None while its
        receipt is not deep enough."""
        receipt = receipts.get(intent.attempt.hash)
        if receipt is None:
            return State.EXPIRED
        if head.number - receipt.block_number + 1 < self._confirmations:
            return None
        return State.CONFIRMED if receipt.succeeded else State.REVERTED

    async def _note(self, receipts: dict[str, MinedReceipt]) -> None:
        """Keep in the journal which intents are mined now, and which are not any more."""
        changed: dict[State, list[str]] = {}
        for intents in self._open.values():
            for index, intent in enumerate(intents):
                mined = intent.attempt.hash in receipts
                if mined == (intent.state is State.MINED):
                    continue
                state = State.MINED if mined else State.BROADCAST
                intents[index] = replace(intent, state=state)
                changed.setdefault(state, []).append(intent.key)
        # An intent that was signed but not yet sent stays so until the node has it.
        for state, keys in changed.items():
            await self._run(self._journal.move, keys, state)
        if receipts:
            await self._run(self._journal.record_receipts, list(receipts.values()))

    def _all_open(self) -> list[Intent]:
        return [intent for intents in self._open.values() for intent in intents]

    def _open_signers(self) -> list[Address]:
        return list(dict.fromkeys(intent.signer for intent in self._all_open()))

    # -- sending ---------------------------------------------------------------------------------

    async def submit(
        self, prepared: Prepared, *, decision_id: int, episode: int, head: Head
    ) -> list[Intent]:
        """Sign, journal, then send. From the journal's commit on, the plan is open.

        Sends nothing, and returns nothing, where a reorg has taken back transactions that were
        settled: they are open again, and their nonces theirs."""
        proposal = prepared.proposal
        signer = self._signers[proposal.signer]
        if await self._reopened(proposal.signer, prepared.chain_nonce):
            return []
        taken = {i.attempt.nonce for i in self._all_open() if i.signer == proposal.signer}
        # The lowest ones: a nonce left out would hold up every later transaction.
        nonces = (nonce for nonce in count(prepared.chain_nonce) if nonce not in taken)
        step = await self._run(self._journal.next_step, episode)
        intents = []
        for offset, (transaction, gas_limit) in enumerate(
            zip(proposal.transactions, prepared.gas_limits, strict=True)
        ):
            try:
                attempt = await self._sign(
                    signer, transaction, next(nonces), gas_limit, prepared.fees
                )
            except ObjectedError as objection:
                # Nothing of the plan is in the journal yet, so nothing of it is ever sent.
                log.error("transaction.not_signed", signer=signer.address, reason=str(objection))  # noqa: TRY400 - a breaker's word, no failure
                return []
            intents.append(
                Intent(
                    decision_id=decision_id,
                    position=proposal.position,
                    episode=episode,
                    step=step + offset,
                    signer=proposal.signer,
                    transaction=transaction,
                    head_number=head.number,
                    deadline_block=head.number + self._fees.deadline_blocks,
                    attempt=attempt,
                    state=State.SIGNED,
                )
            )
        await self._run(self._journal.record_intents, intents)
        self._open[decision_id] = intents
        await self._send_in_order(intents)
        return intents

    async def _reopened(self, signer: Address, chain_nonce: int) -> bool:
        """Open again what the journal holds for mined although the chain's nonce is not past it."""
        taken_back = await self._run(
            self._journal.settled_intents, self._chain_id, signer, chain_nonce
        )
        for intent in taken_back:
            log.warning("intent.reopened", key=intent.key, tx_hash=intent.attempt.hash)
            self._open.setdefault(intent.decision_id, []).append(
                replace(intent, state=State.BROADCAST)
            )
        if taken_back:
            keys = [intent.key for intent in taken_back]
            await self._run(self._journal.move, keys, State.BROADCAST)
        return bool(taken_back)

    async def _sign(
        self, signer: Signer, transaction: Transaction, nonce: int, gas_limit: int, fees: Fees
    ) -> Attempt:
        objection = await self._before_signing(
            chain_id=self._chain_id,
            signer=signer.address,
            most_wei=gas_limit * fees.max_fee_wei + transaction.value_wei,
            replaces=False,
        )
        if objection is not None:
            raise ObjectedError(objection)
        raw, tx_hash = signer.sign(
            {
                "type": 2,
                "chainId": self._chain_id,
                "nonce": nonce,
                "to": transaction.to,
                "data": transaction.data,
                "value": transaction.value_wei,
                "gas": gas_limit,
                "maxFeePerGas": fees.max_fee_wei,
                "maxPriorityFeePerGas": fees.priority_fee_wei,
            }
        )
        return Attempt(
            nonce=nonce,
            hash=tx_hash,
            raw=raw,
            gas_limit=gas_limit,
            max_fee_wei=fees.max_fee_wei,
            priority_fee_wei=fees.priority_fee_wei,
        )

    async def _send_in_order(self, intents: Sequence[Intent]) -> None:
        """Send what can be sent: nothing of a plan behind a transaction that was not taken, and
        nothing of an account whose key is not here, as in a dry run."""
        stuck: set[int] = set()
        sent: list[str] = []
        for intent in tuple(intents):
            if intent.decision_id in stuck or intent.signer not in self._signers:
                continue
            if await self._send(intent):
                sent.append(intent.key)
            else:
                stuck.add(intent.decision_id)
        if sent:
            await self._run(self._journal.move, sent, State.BROADCAST)

    async def _send(self, intent: Intent) -> bool:
        """One POST; whether the node took it. A lost answer is resolved at the next head."""
        fields = {
            "key": intent.key,
            "purpose": intent.transaction.purpose,
            "tx_hash": intent.attempt.hash,
            "nonce": intent.attempt.nonce,
        }
        try:
            await self._rpc.call("eth_sendRawTransaction", "0x" + intent.attempt.raw.hex())
        except (RpcError, EndpointUnavailableError) as error:
            log.error("transaction.send_failed", reason=str(error), **fields)  # noqa: TRY400 - expected failure, no traceback wanted
            return False
        intents = self._open[intent.decision_id]
        intents[intents.index(intent)] = replace(intent, state=State.BROADCAST)
        log.info("transaction.sent", **fields)
        return True


def _receipt(answer: dict[str, Any]) -> MinedReceipt:
    return MinedReceipt(
        hash=answer["transactionHash"],
        block_number=int(answer["blockNumber"], 16),
        block_hash=answer["blockHash"],
        succeeded=int(answer["status"], 16) == 1,
        gas_used=int(answer["gasUsed"], 16),
        effective_gas_price_wei=Wei(int(answer["effectiveGasPrice"], 16)),
    )
