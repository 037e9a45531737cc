"""What makes a price, a contract or the chain itself too doubtful to swap by.

These limit swaps and are told to the owner. They never stop a payment into a position: the protocol
liquidates by the very price that is doubted here, so danger is judged by it, whatever it is.
"""

from dataclasses import dataclass
from typing import Final

from keeper.model.alerts import Severity
from keeper.model.units import Address

HOUR_S: Final = 3_600
SILENCE_S: Final = 25 * HOUR_S
"""For a feed whose rhythm is not known: the slowest common heartbeat is a day, and reports lag."""
MIN_SILENCE_S: Final = HOUR_S // 2
"""No feed is stale before: in calm hours what its rounds show of its rhythm is too short."""
LATENESS: Final = 1.5
"""Times its own heartbeat, which one round in a hundred exceeds anyway."""

JUMP_BPS: Final = 2_000
"""From one look to the next. The worst rounds of ETH/USD in the crashes of 2020 to 2025 moved by
about 15 %; a wrong scale or a forged answer moves by more."""
DISTRUST_S: Final = 600
"""So long a jump is doubted unless the market bears it out."""
AGREEMENT_BPS: Final = 500
"""An answer so near to the market's own price is no error."""

UP: Final = 0
"""What a sequencer's uptime feed answers while it runs; 1 while it does not
(https://docs.chain.link/data-feeds/l2-sequencer-feeds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedAnswer:
    """A feed's latest round as it stands, however absurd. Times are Unix seconds."""

    answer: int
    started_at: int
    updated_at: int
    decimals: int | None
    """None where the feed does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One reason to swap nothing that depends on `source`; the owner is told by `name`."""

    name: str
    """The alert's."""
    source: Address
    """The feed, the token or the contract in doubt."""
    text: str
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The answer that the next is compared with, and the one before a jump that is doubted still."""

    answer: int
    before: int | None = None
    doubted_until: int = 0

    def followed_by(self, answer: int, *, now: int, market: int | None) -> "Level":
        """After the next look. A jump is doubted until `DISTRUST_S` have passed, it is taken back,
        or it meets the `market`'s price, which is in the answer's own units. What is not positive
        is no level."""
        if answer <= 0:
            return self
        if market is not None and _near(answer, market, AGREEMENT_BPS):
            return Level(answer=answer)
        if self.before is not None and now < self.doubted_until:
            if _near(answer, self.before, JUMP_BPS):
                return Level(answer=answer)
            return Level(answer=answer, before=self.before, doubted_until=self.doubted_until)
        if self.before is None and not _near(answer, self.answer, JUMP_BPS):
            return Level(answer=answer, before=self.answer, doubted_until=now + DISTRUST_S)
        return Level(answer=answer)


def _near(answer: int, reference: int, within_bps: int) -> bool:
    return abs(answer - reference) * 10_000 <= within_bps * reference


def feed_anomalies(
    feed: Address,
    latest: FeedAnswer | None,
    *,
    name: str,
    first: FeedAnswer,
    level: Level,
    heartbeat_s: int | None,
    now: int,
) -> tuple[Anomaly, ...]:
    """What is wrong with a feed. `first` is its answer when it was first seen, `name` what people
    call it, `heartbeat_s` the longest that its own history shows it silent."""
    if latest is None:
        return (
            Anomaly(
                name="oracle.silent",
                source=feed,
                text=f"{name} does not answer any more",
                severity=Severity.CRITICAL,
            ),
        )
    found = []
    if latest.answer <= 0:
        found.append(
            Anomaly(
                name="oracle.not_positive",
                source=feed,
                text=f"{name} answers {latest.answer}: what is priced by it cannot be valued, and "
                "the protocol itself may refuse to act",
                severity=Severity.CRITICAL,
            )
        )
    if latest.decimals != first.decimals:
        found.append(
            Anomaly(
                name="oracle.decimals_changed",
                source=feed,
                text=f"{name} had {first.decimals} decimals and has {latest.decimals}",
                severity=Severity.CRITICAL,
            )
        )
    allowed_s = SILENCE_S if heartbeat_s is None else max(heartbeat_s * LATENESS, MIN_SILENCE_S)
    if (age_s := now - latest.updated_at) > allowed_s:
        found.append(
            Anomaly(
                name="oracle.stale",
                source=feed,
                text=f"{name} has not been updated for {age_s / HOUR_S:.1f} hours; "
                f"{allowed_s / HOUR_S:.1f} would be usual at most",
            )
        )
    if level.before is not None:
        found.append(
            Anomaly(
                name="oracle.jumped",
                source=feed,
                text=f"{name} went from {level.before} to {level.answer}, and no market price "
                "bears it out",
            )
        )
    return tuple(found)


def sequencer_anomaly(
    feed: Address, latest: FeedAnswer | None, *, grace_s: int, now: int
) -> Anomaly | None:
    """What its uptime feed says of a rollup's sequencer: down, or up for too short a time for
    owners and feeds to have caught up."""
    if latest is None or latest.answer != UP or latest.started_at <= 0:
        return Anomaly(
            name="sequencer.down",
            source=feed,
            text="the uptime feed of the sequencer does not answer"
            if latest is None
            else "the sequencer is down, by its uptime feed",
            severity=Severity.CRITICAL,
        )
    if (up_s := now - latest.started_at) < grace_s:
        return Anomaly(
            name="sequencer.grace",
            source=feed,
            text=f"the sequencer is back for {up_s} s only; swaps wait for {grace_s} s",
        )
    return None
