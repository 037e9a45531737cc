"""Whether a head can be, by what the other endpoints show and by the time that has gone by. Pure."""

from collections.abc import Sequence

from keeper.model.values import Head

MAX_LEAD_BLOCKS = 64
"""Within so many blocks of another endpoint a head's height is not looked at further."""
FASTEST_BLOCKS_PER_S = 20
"""More than any chain makes: a height that is further ahead than its time allows is made up."""
SLACK_S = 60
"""Of block time: what clocks and the times of blocks differ by without anything being wrong."""


def doubt(head: Head, *, others: Sequence[Head], newest: Head | None, now_s: float) -> str:
    """Why an endpoint's head is not believed; empty if it is.

    `others` are the newest heads of the other endpoints that answer: without any there is nobody to
    doubt it by, and one that shows the like bears it out. `newest` is the last one believed, `now_s`
    what time it can be by now at the latest, in the chain's seconds."""
    if not others or any(_alike(head, other) for other in others):
        return ""
    if head.timestamp > now_s + SLACK_S:
        return "its time has not come yet"
    if newest is not None and newest.number < head.number and head.timestamp < newest.timestamp:
        return "it is older than the one before"
    highest = max(others, key=lambda other: other.number)
    lead = head.number - highest.number
    since_s = head.timestamp - highest.timestamp
    if lead > MAX_LEAD_BLOCKS and lead > max(since_s, 0) * FASTEST_BLOCKS_PER_S:
        return f"no chain makes {lead} blocks in {since_s} s"
    return ""


def _alike(head: Head, other: Head) -> bool:
    near = abs(head.number - other.number) <= MAX_LEAD_BLOCKS
    return near and abs(head.timestamp - other.timestamp) <= SLACK_S
