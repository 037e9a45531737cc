"""What happened to each account, told from the chain: liquidations, actions, costs, health.

Only two things come from the keeper's journal: why it acted, and on which block. Money is in
integers of 10^-8 USD at the oracle's prices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from keeper.devnet.views import AccountView, BlockView, Fee, Liquidated, Repaid, Sold, Supplied
from keeper.model.units import BPS, WAD, Address, Token, Wad
from keeper.model.values import ActionKind, Cause


class UnexplainedActionError(Exception):
    """An account acted on chain and the keeper's journal does not know of it."""

    def __init__(self, transaction: str, block: int) -> None:
        super().__init__(f"transaction {transaction} in block {block} is not in the journal")
        self.transaction = transaction
        self.block = block


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the journal says of one sent transaction."""

    cause: Cause
    head_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTold:
    """One action of the keeper.

    `health_before` and `health_after` are taken at the oracle prices of the block that the keeper
    acted on: their difference is the action's own effect, free of what prices did meanwhile.
    """

    transaction: str
    kind: ActionKind
    cause: Cause
    block: int
    timestamp: int
    latency_blocks: int
    """From the block acted on to the block of the action."""
    health_before: Wad
    health_after: Wad | None
    """None if nothing is owed any more."""
    amount_usd8: int
    swap_usd8: int
    """The part of the cost that is a swap's."""
    cost_usd8: int
    """Gas of the action and of the approvals before it, and what a swap took beyond the debt that it
    repaid, at the oracle's prices; a pool that paid more than those lowers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationTold:
    """One liquidation. The loss is what the liquidator seized beyond what it repaid, as its event
    tells; the protocol's own share of the penalty, which the event leaves out, is not counted."""

    block: int
    timestamp: int
    loss_usd8: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTold:
    """One account from the first block seen to the last."""

    name: str
    actions: tuple[ActionTold, ...]
    liquidations: tuple[LiquidationTold, ...]
    cost_usd8: int
    """All that was paid for gas on its behalf, and what its swaps took."""
    min_health: Wad | None
    debt_start_usd8: int
    debt_end_usd8: int

    @property
    def loss_usd8(self) -> int:
        return sum(one.loss_usd8 for one in self.liquidations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """Turns blocks into stories."""

    tokens: Mapping[Address, Token]
    weth: Address
    """Gas is paid in ether, at the oracle's price of WETH."""

    def tell(
        self,
        name: str,
        account: Address,
        blocks: Sequence[BlockView],
        decided: Mapping[str, Decided],
        guardian: Address | None = None,
    ) -> AccountTold:
        """The story of one account, from the state that the first block left on. What is sent to
        its guardian is done for it.

        Raises `UnexplainedActionError` if an action is not among `decided`."""
        start, lived = blocks[0], blocks[1:]
        actions = self._actions(account, guardian, blocks, decided)
        return AccountTold(
            name=name,
            actions=actions,
            liquidations=tuple(
                LiquidationTold(
                    block=block.number,
                    timestamp=block.timestamp,
                    loss_usd8=self._usd8(block, event.collateral_asset, event.seized_raw)
                    - self._usd8(block, event.debt_asset, event.repaid_raw),
                )
                for block in lived
                for event in block.events
                if isinstance(event, Liquidated) and event.account == account
            ),
            cost_usd8=sum(
                self._usd8(block, self.weth, fee.wei)
                for block in lived
                for fee in block.fees
                if _paid_for(fee, account, guardian)
            )
            + sum(action.swap_usd8 for action in actions),
            min_health=min(self._healths(account, blocks), default=None),
            debt_start_usd8=start.accounts[account].debt_usd8,
            debt_end_usd8=blocks[-1].accounts[account].debt_usd8,
        )

    def _healths(self, account: Address, blocks: Sequence[BlockView]) -> Iterator[Wad]:
        """Health at the end of each block, and within it after the oracle's move, which comes
        first: what the block before left, at this block's price of the collateral (WETH)."""
        for block in blocks:
            if (health := block.accounts[account].health) is not None:
                yield health
        for before, block in pairwise(blocks):
            if (health := before.accounts[account].health) is not None:
                moved = block.prices_usd8[self.weth], before.prices_usd8[self.weth]
                yield Wad(health * moved[0] // moved[1])

    def _actions(
        self,
        account: Address,
        guardian: Address | None,
        blocks: Sequence[BlockView],
        decided: Mapping[str, Decided],
    ) -> tuple[ActionTold, ...]:
        by_number = {block.number: block for block in blocks}
        told: list[ActionTold] = []
        reached: dict[int, AccountView] = {}
        unassigned_usd8 = 0
        for block in blocks[1:]:
            events = {
                event.transaction: event
                for event in block.events
                if isinstance(event, Supplied | Repaid) and event.account == account
            }
            sales = {sale.transaction: sale for sale in block.sales}
            for fee in block.fees:
                if not _paid_for(fee, account, guardian):
                    continue
                unassigned_usd8 += self._usd8(block, self.weth, fee.wei)
                event = events.get(fee.transaction)
                if event is None:
                    continue
                if fee.transaction not in decided:
                    raise UnexplainedActionError(fee.transaction, block.number)
                why = decided[fee.transaction]
                acted_on = by_number[why.head_number]
                before = reached.get(why.head_number, acted_on.accounts[account])
                sale = sales.get(fee.transaction)
                after = self._after(acted_on, before, event, sale)
                swap_usd8 = self._swap_usd8(block, event, sale)
                reached[why.head_number] = after
                told.append(
                    ActionTold(
                        transaction=fee.transaction,
                        kind=_kind(event, sale),
                        cause=why.cause,
                        block=block.number,
                        timestamp=block.timestamp,
                        latency_blocks=block.number - why.head_number,
                        health_before=before.health or Wad(0),
                        health_after=after.health,
                        amount_usd8=self._usd8(block, event.asset, event.amount_raw),
                        cost_usd8=unassigned_usd8 + swap_usd8,
                        swap_usd8=swap_usd8,
                    )
                )
                unassigned_usd8 = 0
        return tuple(told)

    def _swap_usd8(self, block: BlockView, event: Supplied | Repaid, sale: Sold | None) -> int:
        if sale is None:
            return 0
        sold_usd8 = self._usd8(block, sale.asset, sale.amount_raw)
        return sold_usd8 - self._usd8(block, event.asset, event.amount_raw)

    def _after(
        self, block: BlockView, before: AccountView, event: Supplied | Repaid, sale: Sold | None
    ) -> AccountView:
        """`before` with the action done, at the prices of `block`.

        health = collateral x threshold / debt, exact for one collateral asset, whose threshold
        the account's average then is.
        """
        moved = self._usd8(block, event.asset, event.amount_raw)
        repaid = moved if isinstance(event, Repaid) else 0
        sold = 0 if sale is None else self._usd8(block, sale.asset, sale.amount_raw)
        collateral = before.collateral_usd8 + moved - repaid - sold
        debt = max(0, before.debt_usd8 - repaid)
        threshold = before.liquidation_threshold_bps
        return AccountView(
            collateral_usd8=collateral,
            debt_usd8=debt,
            liquidation_threshold_bps=threshold,
            health=Wad(collateral * threshold * WAD // (debt * BPS)) if debt else None,
        )

    def _usd8(self, block: BlockView, asset: Address, raw: int) -> int:
        return raw * block.prices_usd8[asset] // self.tokens[asset].unit


def _paid_for(fee: Fee, account: Address, guardian: Address | None) -> bool:
    return fee.sender == account or (guardian is not None and fee.to == guardian)


def _kind(event: Supplied | Repaid, sale: Sold | None) -> ActionKind:
    if sale is not None:
        return "Deleverage"
    return "Repay" if isinstance(event, Repaid) else "AddCollateral"
