"""Which of a plan's tries is sent."""

from dataclasses import dataclass, replace
from typing import Any, cast

from keeper.chain.simulate import SimulationFailedError
from keeper.engine.trial import Trial, judged
from keeper.policy.plan import Plan
from tests.unit.test_plan import chosen
from tests.unit.test_unwind import flat, unwinding
from tests.unit.transaction_ground import prepared

PLAN = chosen(unwinding(flat(50)))
SMALLER = replace(PLAN, action=PLAN.smaller[0])
THIN = SimulationFailedError("Deleverage", b"")


@dataclass(frozen=True, slots=True)
class Tried:
    """A try of which the verdict is known."""

    said: Plan | str

    def verdict(self, _: Any) -> Plan | str:
        return self.said


def trials(*verdicts: Plan | str) -> list[Trial]:
    return [cast("Trial", Tried(each)) for each in verdicts]


def test_judged__pool_became_thinner__sends_the_largest_that_the_node_takes() -> None:
    found = judged(trials("too thin", SMALLER, SMALLER), [THIN, prepared(), prepared()])
    assert found == (SMALLER, prepared())


def test_judged__all_are_possible__sends_the_whole() -> None:
    assert judged(trials(PLAN, SMALLER), [prepared(), prepared()])[0] == PLAN


def test_judged__none_is_possible__says_what_is_against_the_whole() -> None:
    assert judged(trials("too thin", "thin still"), [THIN, THIN]) == ("too thin", None)
