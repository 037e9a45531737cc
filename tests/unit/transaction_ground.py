"""A transaction manager over a real journal and a node in memory."""

from pathlib import Path
from typing import Any

from keeper.abi.multicall import decode_aggregate3
from keeper.chain.breakers import Breakers
from keeper.chain.fees import Fees
from keeper.chain.pool import Endpoint
from keeper.chain.prepare import Prepared, Proposal
from keeper.chain.settings import BreakerSettings, FeeSettings
from keeper.chain.simulate import Simulation
from keeper.chain.transactions.manager import TransactionManager
from keeper.chain.transactions.seams import (
    BeforeSigning,
    GasLeft,
    SignatureRequest,
    Stake,
    Vote,
    nothing_against,
    without_limit,
)
from keeper.chain.transactions.verdicts import Settled
from keeper.model.lifecycle import State
from keeper.model.records import DecisionRecord, Intent, MinedReceipt, Result
from keeper.model.units import WAD, Address, Wad, Wei
from keeper.model.values import PositionId, Transaction
from keeper.service.notifications import Notifications
from keeper.storage.journal import Journal
from keeper.storage.store import Store
from tests.unit.fake_node import ALICE_KEY, BOB_KEY, FakeNode, signer_of
from tests.unit.fake_rpc import address, aggregated, word

CHAIN_ID = 31_337
DEADLINE_BLOCKS = 5
FINALITY_BLOCKS = 20
GWEI = 10**9
ALICE, BOB = signer_of(ALICE_KEY), signer_of(BOB_KEY)
POOL, TOKEN = address("c3"), address("d4")
APPROVE = Transaction(to=TOKEN, data=b"\x01\x02\x03\x04" + word(5), purpose="approve")
REPAY = Transaction(to=POOL, data=b"\x05\x06\x07\x08" + word(5), purpose="Repay")
NO_READS = Simulation(
    timestamp=0,
    gas_used=(50_000, 200_000),
    reread=decode_aggregate3(aggregated(lambda _: b"", bytes(4) + word(32) + word(0)), 0),
)


def position(account: Address = ALICE.address, market: str = "aave") -> PositionId:
    return PositionId(chain_id=CHAIN_ID, market=market, account=account)


def prepared(
    *transactions: Transaction, of: PositionId | None = None, chain_nonce: int = 0
) -> Prepared:
    transactions = transactions or (APPROVE, REPAY)
    whose = of or position()
    return Prepared(
        proposal=Proposal(
            position=whose, signer=whose.account, transactions=transactions, reads=()
        ),
        simulation=Simulation(
            timestamp=0,
            gas_used=NO_READS.gas_used[-len(transactions) :],
            reread=NO_READS.reread,
        ),
        fees=Fees(max_fee_wei=Wei(3 * GWEI), priority_fee_wei=Wei(GWEI)),
        chain_nonce=chain_nonce,
    )


class Ground:
    """A manager over a real journal and a node in memory."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self.node = FakeNode()
        self.stakes: dict[PositionId, Stake] = {}
        self.objection: str | None = None
        self.asked: list[SignatureRequest] = []
        self.before_signing: BeforeSigning = nothing_against
        self.now_s = 0.0
        self.notifier = Notifications(clock=lambda: self.now_s)
        self.vote = Vote.FOR
        self.fees = FeeSettings(
            max_fee_wei=Wei(100 * GWEI),
            min_priority_fee_wei=Wei(1),
            deadline_blocks=DEADLINE_BLOCKS,
        )
        self.manager = self.restarted()

    @property
    def journal(self) -> Journal:
        return self.store.journal

    def restarted(
        self,
        *,
        confirmations: int = 1,
        signers: tuple[Any, ...] = (ALICE, BOB),
        gas_left: GasLeft = without_limit,
    ) -> TransactionManager:
        """As after the process was killed: nothing in memory."""
        self.manager = TransactionManager(
            rpc=self.node.rpc,
            chain_id=CHAIN_ID,
            signers={signer.address: signer for signer in signers},
            fees=self.fees,
            confirmations=confirmations,
            journal=self.store.journal,
            run=self.store.run,
            finality_blocks=FINALITY_BLOCKS,
            before_signing=self._before_signing,
            gas_left=gas_left,
            notifier=self.notifier,
            votes=self,
            clock=lambda: self.now_s,
        )
        return self.manager

    async def is_lost(self, intent: Intent, _: object, *, block_number: int) -> bool:
        """All other endpoints say what the node says."""
        used = self.node.nonces.get(intent.signer, 0) > intent.nonce
        return block_number <= self.node.number and used

    async def on(self, _receipt: MinedReceipt, _reader: Endpoint | None) -> Vote:
        """What the other endpoints say of every receipt."""
        return self.vote

    def bounded_by(self, per_day_wei: int, kill_file: Path) -> None:
        """As `restarted`, with breakers that let a signer spend so much in a day."""
        breakers = Breakers(
            BreakerSettings(
                kill_file=kill_file,
                quarantine_after_reverts=3,
                quarantine_s=60,
                max_transactions_per_hour=100,
                max_spend_per_day_wei=Wei(per_day_wei),
            ),
            tallies=self.store.tallies,
            run=self.store.run,
            notifier=self.notifier,
            labels={},
            forgiven={},
            now=lambda: self.node.head.timestamp,
        )
        self.before_signing = breakers.objection
        self.restarted(gas_left=breakers.left_wei)

    async def _before_signing(self, request: SignatureRequest) -> str | None:
        self.asked.append(request)
        return self.objection or await self.before_signing(request)

    def decision(self, of: PositionId) -> int:
        return self.journal.record_decision(
            DecisionRecord(
                position=of,
                label="main",
                head_number=self.node.number,
                head_hash=self.node.head.hash,
                timestamp=self.node.head.timestamp,
                cause="floor",
                approved=True,
                reason="",
                kind="Repay",
                amount_raw=1,
                token=None,
                moved_usd8=10**8,
                health_before=Wad(WAD),
                predicted_health=Wad(2 * WAD),
                document={},
            )
        )

    async def submit(self, plan: Prepared | None = None) -> list[Intent]:
        plan = plan or prepared()
        of = plan.proposal.position
        return list(
            await self.manager.submit(
                plan,
                decision_id=self.decision(of),
                episode=self.journal.open_episode(of, self.node.number),
                head=self.node.head,
            )
        )

    async def settle(self) -> list[Settled]:
        """What a pass does at the node's newest block."""
        requests = self.manager.outcome_requests(self.node.head)
        answers = await self.node.rpc.batch(requests) if requests else []
        settled = await self.manager.settle(self.node.head, answers)
        await self.manager.mend(self.node.head, self.stakes.get)
        return settled

    async def settle_over(self, blocks: int) -> list[Settled]:
        """What the passes over this many empty blocks settle."""
        found = []
        for _ in range(blocks):
            self.node.skip(1)
            found += await self.settle()
        return found

    def conclude(self, settled: Settled) -> None:
        result = Result(
            decision_id=settled.decision_id,
            succeeded=False,
            block_number=self.node.number,
            health_after=None,
            worsened=False,
            differences=(),
        )
        self.journal.record_result(result, {each.key: each.state for each in settled.intents})
        self.manager.close(settled)
        self.manager.concluded(settled)

    def states(self) -> dict[str, State]:
        """By purpose, of the intents that are open on disk."""
        return {
            intent.transaction.purpose: intent.state
            for intent in self.journal.open_intents(CHAIN_ID)
        }

    def sent(self) -> list[tuple[str, int]]:
        """Purpose and nonce of everything sent, in order."""
        return [("approve" if tx.to == TOKEN else "Repay", tx.nonce) for tx in self.node.sent()]


def ends(settled: Settled) -> list[State]:
    return [intent.state for intent in settled.intents]
