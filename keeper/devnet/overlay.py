"""Real price feeds on a fork, made to follow a path: history as it was, new rounds as they are due."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_account import Account

from keeper.abi.words import Function, split_words
from keeper.devnet.artifacts import Artifacts, Contract
from keeper.devnet.deploying import Deployer
from keeper.devnet.feeds import Round, is_due
from keeper.devnet.rpc import Rpc, RpcError
from keeper.model.reading import Call
from keeper.model.units import Address
from keeper.protocols.chainlink import DECIMALS as FEED_DECIMALS
from keeper.protocols.chainlink import LATEST_ROUND_DATA

LATEST_ANSWER = Function("latestAnswer()")
USUAL_DECIMALS = 8
"""Of answers in US dollars."""
DOLLAR_BAND = 0.03
"""What is worth a dollar within this much stays so: a crash of everything else is rehearsed."""


@dataclass(slots=True, kw_only=True)
class FallingFeed:
    """One feed, its `PriceFeed` of new rounds, and where it stood at the fork."""

    feed: Address
    rounds: Contract
    unit: int
    first: int
    last: Round

    @property
    def falls(self) -> bool:
        """A dollar does not."""
        return abs(self.first / self.unit - 1.0) > DOLLAR_BAND

    def due(self, factor: float, now: int) -> Round | None:
        """The round that is published at `now` where the market is at `factor` of its start."""
        answer = round(self.first * factor) if self.falls else self.first
        # The feed's rule is about answers: any unit does.
        scaled = Round(self.last.answer * 10**8, self.last.updated_at)
        return Round(answer, now) if is_due(scaled, float(answer), now) else None


def laid_over(rpc: Rpc, artifacts: Artifacts, feeds: Iterable[Address]) -> list[FallingFeed]:
    """Put a `FeedOverlay` in the place of every feed that has an answer. In blocks of its own.

    Raises `DeploymentError`."""
    deployer = deployer_on(rpc)
    found = []
    for feed in feeds:
        answer = _word(rpc, LATEST_ANSWER(feed), 0)
        if not 0 < answer < 2**255:
            continue
        decimals = _word(rpc, FEED_DECIMALS(feed), 0) or USUAL_DECIMALS
        kept = Address(Account.create().address)
        rpc.call("anvil_setCode", kept, rpc.call("eth_getCode", feed, "latest"))
        last = _word(rpc, LATEST_ROUND_DATA(feed), 0)
        rounds = deployer.create(artifacts.own("PriceFeed"), decimals, "drill")
        deployer.flush()
        overlay = deployer.create(artifacts.own("FeedOverlay"), kept, rounds.address, last)
        deployer.flush()
        rpc.call("anvil_setCode", feed, rpc.call("eth_getCode", overlay.address, "latest"))
        updated_at = _word(rpc, LATEST_ROUND_DATA(feed), 3)
        found.append(
            FallingFeed(
                feed=feed,
                rounds=rounds,
                unit=10**decimals,
                first=answer,
                last=Round(answer, updated_at),
            )
        )
    return found


def deployer_on(rpc: Rpc) -> Deployer:
    """A new account with ether."""
    account = Address(Account.create().address)
    rpc.call("anvil_setBalance", account, hex(10**24))
    return Deployer(rpc=rpc, account=account)


def _word(rpc: Rpc, call: Call, place: int) -> int:
    """A word of the answer; 0 where there is none."""
    request = {"to": call.target, "data": "0x" + call.data.hex()}
    try:
        words: Sequence[int] = split_words(
            bytes.fromhex(rpc.call("eth_call", request, "latest")[2:])
        )
    except RpcError:
        return 0
    return words[place] if place < len(words) else 0
