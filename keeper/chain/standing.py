"""How an endpoint stands, as pure transitions: what happened, and when, make the next state."""

from dataclasses import dataclass, replace
from enum import IntEnum

MAX_LAG_BLOCKS = 3
"""Further behind the pool's head than this, an endpoint is out of sync."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 300.0
"""An endpoint that asks for more is asked again after this."""
AFTER_OTHERS_S = 60.0
"""An endpoint that lacked a block's state, or refused what another may allow, is asked after the others
for so long."""
OUTVOTED_S = 600.0
"""An endpoint that most others contradicted is not read for so long."""


class Standing(IntEnum):
    """From the best to the worst: an endpoint is asked when no better one answers."""

    ALIVE = 0
    OUT_OF_SYNC = 1
    """Its head is well behind the pool's."""
    UNREACHABLE = 2
    RATE_LIMITED = 3
    OUTVOTED = 4
    """Most of the others contradicted it at one and the same block."""
    WRONG_CHAIN = 5
    """It answered for another chain: out for good, and no answer of that chain is ever used. One
    that is alone is asked on, its chain first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointState:
    """One endpoint as it stands; times are of a monotonic clock, in seconds."""

    standing: Standing = Standing.ALIVE
    failures: int = 0
    """In a row."""
    retry_at_s: float = 0.0
    """Before it only what cannot wait is asked."""
    head_number: int = 0
    """The highest that it has shown; 0 before the first."""
    after_others_until_s: float = 0.0
    """Before it, others are asked first for what depends on the state of a block."""


def answered(state: EndpointState, *, now_s: float) -> EndpointState:
    """It answered as it should."""
    match state.standing:
        case Standing.WRONG_CHAIN:
            return state
        case Standing.OUT_OF_SYNC:
            return replace(state, failures=0, retry_at_s=0.0)
        case Standing.OUTVOTED if now_s < state.retry_at_s:
            return replace(state, failures=0)
        case _:
            return replace(state, standing=Standing.ALIVE, failures=0, retry_at_s=0.0)


def failed(state: EndpointState, *, now_s: float) -> EndpointState:
    """No usable answer came: each further failure doubles the pause."""
    if state.standing in (Standing.WRONG_CHAIN, Standing.OUTVOTED):
        return state
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(state.failures, 16), LONGEST_PAUSE_S)
    return replace(
        state,
        standing=Standing.UNREACHABLE,
        failures=state.failures + 1,
        retry_at_s=now_s + pause_s,
    )


def limited(state: EndpointState, *, now_s: float, retry_after_s: float | None) -> EndpointState:
    """It asks us to come back later: when it said, else after a pause that doubles."""
    if state.standing in (Standing.WRONG_CHAIN, Standing.OUTVOTED):
        return state
    later = failed(state, now_s=now_s)
    if retry_after_s is not None:
        retry_at_s = now_s + min(retry_after_s, LONGEST_RETRY_AFTER_S)
        later = replace(later, retry_at_s=retry_at_s)
    return replace(later, standing=Standing.RATE_LIMITED)


def showed_head(state: EndpointState, number: int, *, pool_head: int) -> EndpointState:
    """It told its newest head, while the pool's is `pool_head`."""
    seen = replace(state, head_number=number)
    behind = number < pool_head - MAX_LAG_BLOCKS
    if behind and state.standing is Standing.ALIVE:
        return replace(seen, standing=Standing.OUT_OF_SYNC)
    if not behind and state.standing is Standing.OUT_OF_SYNC:
        return replace(seen, standing=Standing.ALIVE)
    return seen


def put_last(state: EndpointState, *, now_s: float) -> EndpointState:
    """It refused, or did not tell, what another may."""
    return replace(state, after_others_until_s=now_s + AFTER_OTHERS_S)


def contradicted(state: EndpointState, *, now_s: float) -> EndpointState:
    """Most of the others, at the same block, said otherwise."""
    if state.standing is Standing.WRONG_CHAIN:
        return state
    return replace(state, standing=Standing.OUTVOTED, retry_at_s=now_s + OUTVOTED_S)


def of_another_chain(state: EndpointState, *, now_s: float) -> EndpointState:
    """It answered with another chain's id."""
    return replace(state, standing=Standing.WRONG_CHAIN, retry_at_s=now_s + LONGEST_PAUSE_S)
