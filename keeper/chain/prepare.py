"""Trying proposals at a head: simulated, priced and given a nonce, in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from keeper.chain.fees import (
    FEE_HISTORY_BLOCKS,
    FEE_HISTORY_PERCENTILE,
    FeeCapReachedError,
    Fees,
    suggest_fees,
)
from keeper.chain.rpc import Request, Rpc, RpcError, retry_reads
from keeper.chain.settings import FeeSettings
from keeper.chain.simulate import (
    METHOD_NOT_FOUND,
    Simulation,
    SimulationFailedError,
    SimulationUnavailableError,
    decode_by_override,
    decode_simulate_v1,
    simulate_by_override,
    simulate_v1,
)
from keeper.model.reading import Calls
from keeper.model.units import Address
from keeper.model.values import Head, PositionId, Transaction

log = structlog.get_logger()

NotPrepared = SimulationFailedError | SimulationUnavailableError | FeeCapReachedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Transactions to try at a head, and the calls that re-read the position after them."""

    position: PositionId
    signer: Address
    transactions: tuple[Transaction, ...]
    reads: Calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A proposal that the node simulated, with what is needed to sign it."""

    proposal: Proposal
    simulation: Simulation
    fees: Fees
    chain_nonce: int


class Preparer:
    """Asks one endpoint. The simulated block is `margin_s` seconds after the head."""

    def __init__(self, *, rpc: Rpc, multicall: Address, fees: FeeSettings, margin_s: int) -> None:
        self._rpc = rpc
        self._multicall = multicall
        self._fees = fees
        self._margin_s = margin_s
        self._multicall_code: str | None = None

    async def prepare(
        self, proposals: Sequence[Proposal], head: Head
    ) -> list[Prepared | NotPrepared]:
        """Simulate each proposal and fetch nonces and fees, in one POST (one more on nodes without
        eth_simulateV1, the first time two)."""
        answers = await self._ask(proposals, head)
        history = answers[-1]
        # Fees are floored where a node has no history to tell.
        rewards = history.get("reward") or [] if isinstance(history, dict) else []
        rewards_wei = [int(block[0], 16) for block in rewards if block]
        outcomes: list[Prepared | NotPrepared] = []
        for index, proposal in enumerate(proposals):
            simulated, nonce = answers[2 * index : 2 * index + 2]
            try:
                prepared = self._prepared(proposal, head, simulated, nonce, rewards_wei)
            except (
                SimulationFailedError,
                SimulationUnavailableError,
                FeeCapReachedError,
            ) as error:
                outcomes.append(error)
            else:
                outcomes.append(prepared)
        return outcomes

    def _prepared(
        self,
        proposal: Proposal,
        head: Head,
        simulated: Any,
        nonce: Any,
        rewards_wei: Sequence[int],
    ) -> Prepared:
        if not isinstance(nonce, str):
            raise SimulationUnavailableError(f"the node does not tell the nonce: {nonce}")
        return Prepared(
            proposal=proposal,
            simulation=self._decoded(simulated, proposal, head),
            fees=suggest_fees(
                base_fee_wei=head.base_fee_wei,
                rewards_wei=rewards_wei,
                floor_wei=self._fees.min_priority_fee_wei,
                cap_wei=self._fees.max_fee_wei,
            ),
            chain_nonce=int(nonce, 16),
        )

    @retry_reads
    async def _ask(self, proposals: Sequence[Proposal], head: Head) -> list[Any | RpcError]:
        requests: list[Request] = []
        for proposal in proposals:
            requests.append(self._simulation(proposal, head))
            requests.append(
                Request(
                    method="eth_getTransactionCount",
                    params=(proposal.signer, {"blockHash": head.hash}),
                )
            )
        requests.append(
            Request(
                method="eth_feeHistory",
                params=(hex(FEE_HISTORY_BLOCKS), hex(head.number), [FEE_HISTORY_PERCENTILE]),
            )
        )
        answers = await self._rpc.batch(requests)
        first = answers[0]
        if (
            self._multicall_code is None
            and isinstance(first, RpcError)
            and first.code == METHOD_NOT_FOUND
        ):
            log.info("simulation.by_state_override", reason="no eth_simulateV1 at the endpoint")
            self._multicall_code = await self._rpc.read(
                "eth_getCode", self._multicall, {"blockHash": head.hash}
            )
            requests[0 : 2 * len(proposals) : 2] = [
                self._simulation(proposal, head) for proposal in proposals
            ]
            answers = await self._rpc.batch(requests)
        return answers

    def _simulation(self, proposal: Proposal, head: Head) -> Request:
        if self._multicall_code is not None:
            return simulate_by_override(
                head=head,
                sender=proposal.signer,
                multicall_code=self._multicall_code,
                transactions=proposal.transactions,
                reads=proposal.reads,
            )
        return simulate_v1(
            head=head,
            sender=proposal.signer,
            multicall=self._multicall,
            transactions=proposal.transactions,
            reads=proposal.reads,
            timestamp=head.timestamp + self._margin_s,
        )

    def _decoded(self, answer: Any, proposal: Proposal, head: Head) -> Simulation:
        if self._multicall_code is not None:
            return decode_by_override(answer, head, proposal.transactions, proposal.reads)
        return decode_simulate_v1(answer, proposal.transactions, proposal.reads)
