"""What happened to each account, told from the chain: liquidations, actions, costs, health.

Only two things come from the keeper's journal: why it acted, and on which block. Money is in
integers of 10^-8 USD at the oracle's prices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from keeper.devnet.views import AccountView, BlockView, Liquidated, Repaid, Supplied
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
    cost_usd8: int
    """Gas of the action and of the approvals before it."""


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
    """All that the account paid for gas."""
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
    ) -> AccountTold:
        """The story of one account, from the state that the first block left on.

        Raises `UnexplainedActionError` if an action is not among `decided`."""
        start, lived = blocks[0], blocks[1:]
        return AccountTold(
            name=name,
            actions=self._actions(account, blocks, decided),
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
                if fee.sender == account
            ),
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
        self, account: Address, blocks: Sequence[BlockView], decided: Mapping[str, Decided]
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
            for fee in block.fees:
                if fee.sender != account:
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
                after = self._after(acted_on, before, event)
                reached[why.head_number] = after
                told.append(
                    ActionTold(
                        transaction=fee.transaction,
                        kind="Repay" if isinstance(event, Repaid) else "AddCollateral",
                        cause=why.cause,
                        block=block.number,
                        timestamp=block.timestamp,
                        latency_blocks=block.number - why.head_number,
                        health_before=before.health or Wad(0),
                        health_after=after.health,
                        amount_usd8=self._usd8(block, event.asset, event.amount_raw),
                        cost_usd8=unassigned_usd8,
                    )
                )
                unassigned_usd8 = 0
        return tuple(told)

    def _after(
        self, block: BlockView, before: AccountView, event: Supplied | Repaid
    ) -> AccountView:
        """`before` with the action done, at the prices of `block`.

        health = collateral x threshold / debt, exact for one collateral asset, whose threshold
        the account's average then is.
        """
        moved = self._usd8(block, event.asset, event.amount_raw)
        repaid = moved if isinstance(event, Repaid) else 0
        collateral = before.collateral_usd8 + moved - repaid
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
