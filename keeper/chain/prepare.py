"""Trying proposals at a head: simulated, priced, paid for and given a nonce, in one round trip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import structlog

from keeper.abi.words import MAX_UINT256
from keeper.chain.account import balance_request, nonce_request
from keeper.chain.fees import (
    FEE_HISTORY_BLOCKS,
    PERCENTILES,
    FeeCapReachedError,
    FeeHistory,
    Fees,
    ceiling,
    decode_fee_history,
    suggest_fees,
)
from keeper.chain.l1_fees import code_request, l1_fee_request, l1_fee_wei
from keeper.chain.rpc import JsonRpc, Request, RpcError, quantity, retry_reads
from keeper.chain.settings import FeeSettings
from keeper.chain.simulate import (
    NOT_SUPPORTED,
    Simulation,
    SimulationFailedError,
    SimulationUnavailableError,
    decode_by_override,
    decode_simulate_v1,
    simulate_by_override,
    simulate_v1,
)
from keeper.model.lifecycle import Urgency
from keeper.model.reading import Calls
from keeper.model.units import Address, Wei
from keeper.model.values import Head, PositionId, Transaction

log = structlog.get_logger()

NO_BUDGETS: Mapping[Address, Wei] = MappingProxyType({})
GAS_HEADROOM_PERCENT = 150
"""gasUsed is after refunds (at most a fifth, EIP-3529) and state moves until inclusion."""


class EtherMissingError(Exception):
    """The signer cannot pay for the plan's gas, so no node would take its transactions."""

    def __init__(self, signer: Address, *, needed_wei: int, available_wei: int) -> None:
        super().__init__(
            f"{signer} has {available_wei / 1e18:.6f} ether and may need {needed_wei / 1e18:.6f} "
            "for the plan's gas; send it ether"
        )
        self.signer = signer
        self.needed_wei = needed_wei
        self.available_wei = available_wei


NotPrepared = (
    SimulationFailedError | SimulationUnavailableError | FeeCapReachedError | EtherMissingError
)
Tried = Simulation | SimulationFailedError | SimulationUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Transactions to try at a head, and the calls that re-read the position after them."""

    position: PositionId
    signer: Address
    transactions: tuple[Transaction, ...]
    reads: Calls
    urgency: Urgency = Urgency.ROUTINE
    worth_wei: Wei | None = None
    """The most that protecting the position is worth in gas; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A proposal that the node simulated, with what is needed to sign it."""

    proposal: Proposal
    simulation: Simulation
    fees: Fees
    chain_nonce: int
    l1_fees_wei: tuple[Wei, ...] = ()
    """What a rollup of the OP stack takes for the bytes of each transaction, beside the gas; empty
    elsewhere."""

    @property
    def l1_fee_wei(self) -> int:
        """Of the whole plan."""
        return sum(self.l1_fees_wei)

    @property
    def gas_limits(self) -> tuple[int, ...]:
        """Of each transaction."""
        return gas_limits(self.simulation)

    @property
    def gas_wei(self) -> int:
        """The most that its gas can cost: Σ gas limit × max fee, and the L1 fee."""
        return self.l1_fee_wei + sum(self.gas_limits) * self.fees.max_fee_wei

    @property
    def most_wei(self) -> int:
        """What a node asks the signer to hold: the gas, and what the transactions carry."""
        return self.gas_wei + sum(tx.value_wei for tx in self.proposal.transactions)


def gas_limits(simulation: Simulation) -> tuple[int, ...]:
    """Of each transaction: what the simulation used, with headroom, rounded down."""
    return tuple(used * GAS_HEADROOM_PERCENT // 100 for used in simulation.gas_used)


class Preparer:
    """Asks one endpoint. The simulated block is `margin_s` seconds after the head."""

    def __init__(
        self, *, rpc: JsonRpc, multicall: Address, fees: FeeSettings, margin_s: int
    ) -> None:
        self._multicall = multicall
        self._fees = fees
        self._margin_s = margin_s
        self._batch = retry_reads(rpc.batch)
        self._simulates = True
        self._multicall_code: str | None = None
        self._charges_l1_fees = False

    async def look_for_l1_fees(self, head: Head) -> None:
        """Find out whether the chain is a rollup that charges for a transaction's bytes on L1 beside
        its gas. Raises `EndpointUnavailableError`."""
        (code,) = await self._batch([code_request(head)])
        self._charges_l1_fees = isinstance(code, str) and len(code) > len("0x")

    async def prepare(
        self,
        proposals: Sequence[Proposal],
        head: Head,
        *,
        gas_left_wei: Mapping[Address, Wei] = NO_BUDGETS,
    ) -> list[Prepared | NotPrepared]:
        """Simulate each proposal and fetch nonces, balances and fees, in one POST. Where
        eth_simulateV1 is refused, one more tries by state override, the first time two.

        `gas_left_wei` bounds the gas of each signer's; whoever comes first takes from it."""
        left_wei, counted = dict(gas_left_wei), set[PositionId]()
        code = None if self._simulates else self._multicall_code
        trials = [self._trial(proposal, head, code) for proposal in proposals]
        l1_fees = self._l1_fee_requests(proposals, head)
        answers = await self._batch([*trials, *l1_fees, *_fees_and_accounts(proposals, head)])
        l1_told = iter(answers[len(trials) : len(trials) + len(l1_fees)])
        fee_history, *accounts = answers[len(trials) + len(l1_fees) :]
        history = decode_fee_history(fee_history, head)
        simulations = [
            _decoded(answer, proposal, head, by_override=code is not None)
            for proposal, answer in zip(proposals, answers[: len(trials)], strict=True)
        ]
        if code is None:
            await self._try_again(proposals, head, answers[: len(trials)], simulations)
        outcomes: list[Prepared | NotPrepared] = []
        for index, proposal in enumerate(proposals):
            nonce, balance = accounts[2 * index : 2 * index + 2]
            try:
                prepared = self._prepared(
                    proposal,
                    simulations[index],
                    nonce,
                    history,
                    head,
                    left_wei.get(proposal.signer, Wei(MAX_UINT256)),
                    tuple(
                        l1_fee_wei(next(l1_told, None))
                        for _ in (proposal.transactions if l1_fees else ())
                    ),
                )
                _check_ether(prepared, balance)
            except (
                SimulationFailedError,
                SimulationUnavailableError,
                FeeCapReachedError,
                EtherMissingError,
            ) as error:
                outcomes.append(error)
            else:
                outcomes.append(prepared)
                if proposal.signer in left_wei and proposal.position not in counted:
                    # Of several proposals for one position at most one is sent.
                    counted.add(proposal.position)
                    left = left_wei[proposal.signer] - prepared.gas_wei
                    left_wei[proposal.signer] = Wei(left)
        return outcomes

    def _prepared(
        self,
        proposal: Proposal,
        simulation: Tried,
        nonce: Any,
        history: FeeHistory,
        head: Head,
        budget_left_wei: Wei,
        l1_fees_wei: tuple[Wei, ...],
    ) -> Prepared:
        if not isinstance(simulation, Simulation):
            raise simulation
        base_fee_wei = history.next_base_fee_wei
        allowed = ceiling(
            urgency=proposal.urgency,
            hard_cap_wei=self._fees.max_fee_wei,
            worth_wei=proposal.worth_wei,
            budget_left_wei=budget_left_wei,
            gas_limit=sum(gas_limits(simulation)),
            l1_fee_wei=Wei(sum(l1_fees_wei)),
        )
        return Prepared(
            proposal=proposal,
            simulation=simulation,
            fees=suggest_fees(
                base_fee_wei=head.base_fee_wei if base_fee_wei is None else base_fee_wei,
                rewards_wei=history.rewards(proposal.urgency),
                floor_wei=self._fees.min_priority_fee_wei,
                ceiling=allowed,
                urgency=proposal.urgency,
            ),
            chain_nonce=_nonce(nonce),
            l1_fees_wei=l1_fees_wei,
        )

    def _l1_fee_requests(self, proposals: Sequence[Proposal], head: Head) -> list[Request]:
        if not self._charges_l1_fees:
            return []
        return [
            l1_fee_request(transaction, head)
            for proposal in proposals
            for transaction in proposal.transactions
        ]

    # -- simulating ------------------------------------------------------------------------------

    def _trial(self, proposal: Proposal, head: Head, code: str | None) -> Request:
        """By state override where Multicall3's code is given."""
        if code is not None:
            return simulate_by_override(
                head=head,
                sender=proposal.signer,
                multicall_code=code,
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

    async def _try_again(
        self,
        proposals: Sequence[Proposal],
        head: Head,
        answers: Sequence[Any],
        simulations: list[Tried],
    ) -> None:
        """Put in what a state override gives wherever eth_simulateV1 was refused."""
        refusals = {n: each for n, each in enumerate(answers) if isinstance(each, RpcError)}
        if not refusals:
            return
        codes = {each.code for each in refusals.values()}
        # Other refusals may be gone at the next head, so that it is asked again then.
        self._simulates = not codes & NOT_SUPPORTED
        log.info("simulation.by_state_override", for_good=not self._simulates, codes=sorted(codes))
        if self._multicall_code is None:
            params = (self._multicall, {"blockHash": head.hash})
            (code,) = await self._batch([Request(method="eth_getCode", params=params)])
            if not isinstance(code, str):
                return
            self._multicall_code = code
        again = await self._batch(
            [self._trial(proposals[n], head, self._multicall_code) for n in refusals]
        )
        for n, answer in zip(refusals, again, strict=True):
            simulations[n] = _decoded(answer, proposals[n], head, by_override=True)


def _fees_and_accounts(proposals: Sequence[Proposal], head: Head) -> list[Request]:
    """The fee history, then each signer's nonce and balance."""
    history = (hex(FEE_HISTORY_BLOCKS), hex(head.number), list(PERCENTILES.values()))
    return [
        Request(method="eth_feeHistory", params=history),
        *(
            ask(proposal.signer, head)
            for proposal in proposals
            for ask in (nonce_request, balance_request)
        ),
    ]


def _decoded(answer: Any, proposal: Proposal, head: Head, *, by_override: bool) -> Tried:
    try:
        if by_override:
            return decode_by_override(answer, head, proposal.transactions, proposal.reads)
        return decode_simulate_v1(answer, proposal.transactions, proposal.reads)
    except (SimulationFailedError, SimulationUnavailableError) as error:
        return error


def _nonce(answer: Any) -> int:
    told = quantity(answer)
    if told is None:
        # A node's own error may go on; whatever else it said is of no use to anyone.
        said = answer if isinstance(answer, RpcError) else "it answers no number"
        raise SimulationUnavailableError(f"the node does not tell the nonce: {said}")
    return told


def _check_ether(prepared: Prepared, balance: Any) -> None:
    """Raises `EtherMissingError`. A balance that is not told is left to the node, which refuses the
    transaction; it is no reason to leave the position alone."""
    available_wei = quantity(balance)
    if available_wei is not None and available_wei < prepared.most_wei:
        raise EtherMissingError(
            prepared.proposal.signer, needed_wei=prepared.most_wei, available_wei=available_wei
        )
