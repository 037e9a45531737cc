"""What nodes say when they are given a transaction; the texts are facts of their sources.

geth core/txpool/errors.go and core/error.go; Erigon txpoolcfg's DiscardReason, prefixed with the
import's result; Nethermind AcceptTxResult, in its older and its newer words; Besu RpcErrorType;
Arbitrum's sequencer, which runs geth's state transition; Anvil's pool errors.
"""

import re
from dataclasses import dataclass

from keeper.devnet.proxy import Answer
from keeper.devnet.recording import SEND
from tests.faults.faulty import Fault, Node, Post, error, first, only, refused
from tests.faults.registry import Play, line
from tests.faults.stage import Bid, Stage, bid_of

REFUSALS = 3
BUMP_PERCENT = 110
"""What geth asks of a replacement, of both caps."""
NAMED_BY = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One client's words."""

    client: str
    says: str
    code: int = -32000

    @property
    def name(self) -> str:
        """Of its line."""
        words = re.findall(r"[A-Za-z]+", self.says)[:NAMED_BY]
        return "-".join(["error-text", self.client, *words]).lower()


HAS_IT = (
    Text(client="geth", says="already known"),
    Text(client="erigon", says="ALREADY_EXISTS: already known"),
    Text(client="erigon", says="INTERNAL_ERROR: existing tx with same hash"),
    Text(client="nethermind", says="AlreadyKnown", code=-32010),
    Text(client="besu", says="Known transaction"),
    Text(client="arbitrum", says="already known"),
    Text(client="anvil", says="transaction already imported", code=-32003),
)
WANTS_MORE = (
    Text(client="geth", says="replacement transaction underpriced"),
    Text(client="geth", says="transaction underpriced: tip needed 1500000000, tip permitted 1"),
    Text(
        client="geth",
        says="max fee per gas less than block base fee: address 0x1f, maxFeePerGas: 1, baseFee: 2",
    ),
    Text(client="erigon", says="INTERNAL_ERROR: could not replace existing tx"),
    Text(client="erigon", says="FEE_TOO_LOW: underpriced"),
    Text(client="nethermind", says="FeeTooLowToCompete", code=-32010),
    Text(client="nethermind", says="ReplacementNotAllowed", code=-32010),
    Text(client="besu", says="Replacement transaction underpriced"),
    Text(client="besu", says="Gas price below configured minimum gas price", code=-32009),
    Text(
        client="arbitrum",
        says="max fee per gas less than block base fee: address 0x1f",
        code=-32000,
    ),
    Text(client="anvil", says="max fee per gas less than block base fee", code=-32003),
)
NOT_NOW = (
    Text(client="geth", says="txpool is full"),
    Text(client="geth", says="nonce too low: next nonce 9, tx nonce 3"),
    Text(client="geth", says="insufficient funds for gas * price + value: balance 0, tx cost 1"),
    Text(client="geth", says="in-flight transaction limit reached for delegated accounts"),
    Text(client="erigon", says="INTERNAL_ERROR: nonce too low"),
    Text(client="nethermind", says="OldNonce", code=-32010),
    Text(
        client="nethermind",
        says="InsufficientFunds, Account balance: 0, cumulative cost: 1",
        code=-32010,
    ),
    Text(client="besu", says="Nonce too low", code=-32001),
    Text(client="besu", says="Upfront cost exceeds account balance", code=-32004),
    Text(client="arbitrum", says="nonce too high: address 0x1f, tx: 9 state: 3"),
    Text(client="anvil", says="nonce too low", code=-32003),
)


def known(text: Text) -> Play:
    """The node has it and says so, to every send."""

    async def play(stage: Stage) -> str:
        return await _protected(stage, error(SEND, text.says, code=text.code))

    return play


def dear(text: Text) -> Play:
    """The node takes nothing at the first price."""

    async def play(stage: Stage) -> str:
        stage.no_deadline()
        return await _protected(stage, _refuses_the_first_price(text))

    return play


def unwilling(text: Text) -> Play:
    """The node refuses a few times, for a reason that passes or was never true."""

    async def play(stage: Stage) -> str:
        refusal = refused(text.says, code=text.code)
        return await _protected(stage, only(SEND, first(REFUSALS, refusal)))

    return play


async def _protected(stage: Stage, fault: Fault) -> str:
    one = stage.ground.guard()
    stage.inject(fault)
    async with stage.daemon() as running:
        await stage.settle(one, running)
    return stage.protected(one)


def _refuses_the_first_price(text: Text) -> Fault:
    """Of each nonce: less than `BUMP_PERCENT` of what was bid at first, of either cap."""
    least: dict[int, Bid] = {}
    refusal = refused(text.says, code=text.code)

    async def flawed(post: Post, node: Node) -> Answer:
        (raw,) = post.requests[0]["params"]
        nonce, bid = bid_of(raw)
        if nonce not in least:
            least[nonce] = Bid(
                cap_wei=bid.cap_wei * BUMP_PERCENT // 100, tip_wei=bid.tip_wei * BUMP_PERCENT // 100
            )
        enough = bid.cap_wei >= least[nonce].cap_wei and bid.tip_wei >= least[nonce].tip_wei
        return await (node(post) if enough else refusal(post, node))

    return only(SEND, flawed)


for each in HAS_IT:
    line(
        each.name,
        fault=f'the node has it and says "{each.says}"',
        must="it is adopted: one repayment",
    )(known(each))
for each in WANTS_MORE:
    line(
        each.name,
        fault=f'the node says "{each.says}" to the first price',
        must="a higher price at the same nonce: one repayment",
    )(dear(each))
for each in NOT_NOW:
    line(
        each.name,
        fault=f'the node refuses {REFUSALS} sends with "{each.says}"',
        must="not believed alone: one repayment",
    )(unwilling(each))
