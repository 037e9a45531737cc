"""Whether to act on what one endpoint says, given what the others say of the same block."""

from enum import Enum


class Verdict(Enum):
    """What to do about a plan."""

    ACT = "act"
    WAIT = "wait"
    """Look again at the next block: nodes may differ for a moment."""
    REFUSE = "refuse"


def weigh(*, agree: int, contradict: int, waited: bool, rechecked_on_chain: bool) -> Verdict:
    """`agree` and `contradict` count the other endpoints; the one that the plan was made on counts
    itself for the plan. An endpoint that does not answer is not a contradiction.

    A contradiction is waited out for one block (`waited`: it has been); after that the majority
    decides. Without one only a plan that a contract checks again before it does anything
    (`rechecked_on_chain`) may go on."""
    if contradict == 0:
        return Verdict.ACT
    if not waited:
        return Verdict.WAIT
    if 1 + agree > contradict or rechecked_on_chain:
        return Verdict.ACT
    return Verdict.REFUSE
