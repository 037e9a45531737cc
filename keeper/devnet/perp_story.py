"""What happened to each perp account, told from the chain: deposits, liquidations, costs, health."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from eth_utils.crypto import keccak

from keeper.abi.words import MAX_UINT256, split_words, word_to_address
from keeper.devnet.artifacts import Contract
from keeper.devnet.market import Market
from keeper.devnet.perp_market import PerpMarket
from keeper.devnet.story import (
    AccountTold,
    ActionTold,
    Decided,
    LiquidationTold,
    UnexplainedActionError,
)
from keeper.devnet.views import (
    AccountView,
    BlockView,
    Deposited,
    Fee,
    PerpEvent,
    Reduced,
    TakenOver,
    paid_fees,
)
from keeper.mandate.perp_guardian import POSITION_REDUCED
from keeper.model.units import WAD, Address, Wad

# Signatures: interface/IVault.sol and interface/IClearingHouse.sol of @perp/curie-contract 2.8.4.
DEPOSITED = "0x" + keccak(text="Deposited(address,address,uint256)").hex()
LIQUIDATED = (
    "0x" + keccak(text="PositionLiquidated(address,address,uint256,uint256,uint256,address)").hex()
)
_USD8 = 10**10


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpWitness:
    """Sees what the given perp accounts have, and what was done for and to them."""

    market: Market
    perp: PerpMarket
    accounts: tuple[Address, ...]
    owners: Mapping[Address, Address] = field(default_factory=lambda: MappingProxyType({}))
    """Of the guardians that act for some of them."""
    symbol: str = "vETH"

    def look(self, number: int) -> BlockView:
        """The block of this number, in one round trip."""
        chain, contracts, block = self.market.chain, self.perp.perp, hex(number)
        house, balance = contracts.clearing_house, contracts.account_balance
        base = contracts.base_tokens[self.symbol].address
        views = [
            (contract, function, account)
            for account in self.accounts
            for contract, function in (
                (house, "getAccountValue"),
                (balance, "getMarginRequirementForLiquidation"),
                (balance, "getTotalAbsPositionValue"),
            )
        ]
        header, receipts, mark, *answers = chain.rpc.batch(
            [
                ("eth_getBlockByNumber", (block, False)),
                ("eth_getBlockReceipts", (block,)),
                _asked(balance, "getMarkPrice", base, block),
                *(_asked(*view, block) for view in views),
            ]
        )
        words = [int(answer, 16) for answer in answers]
        weth = chain.contracts.tokens["WETH"].address
        return BlockView(
            number=number,
            timestamp=int(header["timestamp"], 16),
            gas_price_wei=int(header["baseFeePerGas"], 16),
            market_price=self.market.price("WETH"),
            prices_usd8={weth: int(mark, 16) // _USD8},
            accounts={
                account: _account(*words[3 * place : 3 * place + 3])
                for place, account in enumerate(self.accounts)
            },
            events=perp_events(receipts, self.perp, self.owners),
            sales=(),
            fees=paid_fees(receipts),
        )


def _asked(contract: Contract, function: str, argument: Address, block: str) -> tuple[str, Any]:
    data = "0x" + contract.encode(function, argument).hex()
    return "eth_call", ({"to": contract.address, "data": data}, block)


def _account(value: int, required: int, notional: int) -> AccountView:
    """From the getters' words; an equity below zero counts as nothing."""
    signed = value - (1 << 256) if value >> 255 else value
    return AccountView(
        collateral_usd8=max(signed, 0) // _USD8,
        debt_usd8=notional // _USD8,
        liquidation_threshold_bps=0,
        health=Wad(signed * WAD // required) if required else None,
    )


def perp_events(
    receipts: Iterable[Mapping[str, Any]], perp: PerpMarket, owners: Mapping[Address, Address]
) -> tuple[PerpEvent, ...]:
    """The venue's deposits and liquidations and what guardians reduced, in the order of the block."""
    ours = {
        int(perp.perp.vault.address, 16): DEPOSITED,
        int(perp.perp.clearing_house.address, 16): LIQUIDATED,
    } | {int(guardian, 16): POSITION_REDUCED for guardian in owners}
    of = {int(guardian, 16): owner for guardian, owner in owners.items()}
    return tuple(
        _reduced(log, of[int(log["address"], 16)])
        if log["topics"][0] == POSITION_REDUCED
        else _decoded(log)
        for receipt in receipts
        for log in receipt["logs"]
        if log["topics"] and ours.get(int(log["address"], 16)) == log["topics"][0]
    )


def _reduced(log: Mapping[str, Any], owner: Address) -> Reduced:
    size, quote, worth, before, after = split_words(bytes.fromhex(log["data"][2:]))
    return Reduced(
        transaction=log["transactionHash"],
        account=owner,
        size_raw=size,
        worth_usd8=worth,
        quote_usd8=quote // _USD8,
        health_before=Wad(before),
        health_after=None if after == MAX_UINT256 else Wad(after),
    )


def _decoded(log: Mapping[str, Any]) -> PerpEvent:
    topic, *indexed = log["topics"]
    first, second = (word_to_address(int(word, 16)) for word in indexed[:2])
    words = split_words(bytes.fromhex(log["data"][2:]))
    if topic == DEPOSITED:
        return Deposited(
            transaction=log["transactionHash"], account=second, asset=first, amount_raw=words[0]
        )
    return TakenOver(
        transaction=log["transactionHash"],
        account=first,
        notional_usd8=words[0] // _USD8,
        penalty_usd8=words[2] // _USD8,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpTeller:
    """Turns blocks into stories of perp accounts; margin is the venue's dollar coin."""

    weth: Address
    """Gas is paid in ether, at the mark."""
    dollar_unit: int

    def tell(
        self,
        name: str,
        account: Address,
        blocks: Sequence[BlockView],
        decided: Mapping[str, Decided],
        guardian: Address | None = None,
    ) -> AccountTold:
        """The story of one account, from the state that the first block left on.

        Raises `UnexplainedActionError` if an action is not among `decided`."""
        start, lived = blocks[0], blocks[1:]
        payers = {account, guardian}
        healths = (block.accounts[account].health for block in blocks)
        return AccountTold(
            name=name,
            actions=tuple(self._actions(account, payers, blocks, decided)),
            liquidations=tuple(
                LiquidationTold(
                    block=block.number, timestamp=block.timestamp, loss_usd8=event.penalty_usd8
                )
                for block in lived
                for event in block.events
                if isinstance(event, TakenOver) and event.account == account
            ),
            cost_usd8=sum(
                self._gas_usd8(block, fee, payers) for block in lived for fee in block.fees
            )
            + sum(
                _lost_usd8(event)
                for block in lived
                for event in block.events
                if isinstance(event, Reduced) and event.account == account
            ),
            min_health=min((each for each in healths if each is not None), default=None),
            debt_start_usd8=start.accounts[account].debt_usd8,
            debt_end_usd8=blocks[-1].accounts[account].debt_usd8,
        )

    def _actions(
        self,
        account: Address,
        payers: set[Address | None],
        blocks: Sequence[BlockView],
        decided: Mapping[str, Decided],
    ) -> Iterator[ActionTold]:
        by_number = {block.number: block for block in blocks}
        added: dict[int, int] = {}
        """By block acted on, what was deposited on its account so far."""
        unassigned_usd8 = 0
        for block in blocks[1:]:
            done = {
                event.transaction: event
                for event in block.events
                if isinstance(event, Deposited | Reduced) and event.account == account
            }
            for fee in block.fees:
                unassigned_usd8 += self._gas_usd8(block, fee, payers)
                event = done.get(fee.transaction)
                if event is None:
                    continue
                if fee.transaction not in decided:
                    raise UnexplainedActionError(fee.transaction, block.number)
                why = decided[fee.transaction]
                common: dict[str, Any] = {
                    "transaction": fee.transaction,
                    "cause": why.cause,
                    "block": block.number,
                    "timestamp": block.timestamp,
                    "latency_blocks": block.number - why.head_number,
                }
                if isinstance(event, Reduced):
                    mark_usd8 = block.prices_usd8[self.weth]
                    yield _reduction_told(event, mark_usd8, unassigned_usd8, common)
                else:
                    view = by_number[why.head_number].accounts[account]
                    moved_usd8 = event.amount_raw * 10**8 // self.dollar_unit
                    before = added.get(why.head_number, 0)
                    added[why.head_number] = before + moved_usd8
                    yield ActionTold(
                        **common,
                        kind="AddMargin",
                        health_before=_health(view, before),
                        health_after=_health(view, before + moved_usd8),
                        amount_usd8=moved_usd8,
                        swap_usd8=0,
                        cost_usd8=unassigned_usd8,
                    )
                unassigned_usd8 = 0

    def _gas_usd8(self, block: BlockView, fee: Fee, payers: set[Address | None]) -> int:
        if fee.sender not in payers and fee.to not in payers - {None}:
            return 0
        return int(fee.wei * block.prices_usd8[self.weth] // WAD)


def _lost_usd8(event: Reduced) -> int:
    """Of a long, as all twins are: below zero where the pool paid more than the index."""
    return event.worth_usd8 - event.quote_usd8


def _reduction_told(
    event: Reduced, mark_usd8: int, gas_usd8: int, common: Mapping[str, Any]
) -> ActionTold:
    """Health is as the guardian saw it, at the prices of its own block: what the quote was better
    than the mark, by which the position is valued, is in it beside what the size did."""
    return ActionTold(
        **common,
        kind="ReducePosition",
        health_before=event.health_before,
        health_after=event.health_after,
        amount_usd8=event.worth_usd8,
        swap_usd8=event.size_raw * mark_usd8 // WAD - event.quote_usd8,
        cost_usd8=gas_usd8 + _lost_usd8(event),
    )


def _health(view: AccountView, added_usd8: int) -> Wad:
    """Of an account with more margin, at the prices of the block it was seen at."""
    if view.health is None or view.collateral_usd8 == 0:
        return view.health or Wad(0)
    return Wad(view.health * (view.collateral_usd8 + added_usd8) // view.collateral_usd8)
