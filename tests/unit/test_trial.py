"""Which of a plan's tries is sent."""

from dataclasses import dataclass, replace
from typing import Any, cast

from structlog.testing import capture_logs

from keeper.chain.simulate import SimulationFailedError
from keeper.engine.trial import MAX_OTHERS, Trial, judged, trials
from keeper.policy.plan import Plan
from tests.unit.test_plan import chosen
from tests.unit.test_unwind import flat, payments, unwinding
from tests.unit.transaction_ground import prepared

PLAN = chosen(unwinding(flat(50)))
SMALLER = replace(PLAN, action=PLAN.smaller[0])
THIN = SimulationFailedError("Deleverage", b"")


@dataclass(frozen=True, slots=True)
class Tried:
    """A try of which the verdict is known."""

    said: Plan | str
    plan: Plan = PLAN
    instead: bool = False

    def verdict(self, _: Any) -> Plan | str:
        return self.said


def tried(*verdicts: Plan | str) -> list[Trial]:
    return [cast("Trial", Tried(each)) for each in verdicts]


def test_judged__pool_became_thinner__sends_the_largest_that_the_node_takes() -> None:
    found = judged(tried("too thin", SMALLER, SMALLER), [THIN, prepared(), prepared()])
    assert found == (SMALLER, prepared())


def test_judged__all_are_possible__sends_the_whole() -> None:
    assert judged(tried(PLAN, SMALLER), [prepared(), prepared()])[0] == PLAN


def test_judged__none_is_possible__says_what_is_against_the_whole() -> None:
    assert judged(tried("too thin", "thin still"), [THIN, THIN]) == ("too thin", None)


WAYS = chosen(unwinding(flat(50), flat(80, fee_ppm=500), then=payments(5_000)))


def other(said: Plan | str, plan: Plan) -> Trial:
    return cast("Trial", Tried(said, plan=plan, instead=True))


def test_judged__plan_and_its_smaller_ones_refused__sends_another_way_and_says_so() -> None:
    (_, payment) = WAYS.others
    tries = [*tried("no ether", "no ether"), other("no ether", WAYS.others[0])]
    with capture_logs() as logs:
        found = judged([*tries, other(payment, payment)], [THIN, THIN, THIN, prepared()])
    assert found == (payment, prepared())
    (line,) = logs
    assert line["event"] == "plan.passed_over"
    assert line["refused"].startswith("no ether; instead Deleverage")
    assert line["instead"].startswith("Repay")


def test_judged__every_way_refused__says_what_is_against_each() -> None:
    tries = [*tried("too thin", "thin still"), other("paused", WAYS.others[1])]
    (reason, outcome) = judged(tries, [THIN, THIN, THIN])
    assert reason == f"too thin; instead Repay {WAYS.others[1].action.amount}: paused"
    assert outcome is None


def test_trials__other_sources_and_routes__are_tried_with_the_plan() -> None:
    found = trials(WAYS, cast("Any", None), None, cast("Any", None), block=7)
    assert [each.plan.action for each in found if not each.instead] == [
        WAYS.action,
        *WAYS.smaller,
    ]
    assert [each.plan for each in found if each.instead] == list(WAYS.others)
    assert len({repr(each.plan.action) for each in found}) == 5


def test_trials__more_other_ways_than_are_tried_at_once__take_turns() -> None:
    plan = chosen(unwinding(*(flat(50 + n, fee_ppm=500 + n) for n in range(13))))
    assert len(plan.others) == 12
    tries = [
        [
            each.plan.action
            for each in trials(plan, cast("Any", None), None, cast("Any", None), block=block)
            if each.instead
        ]
        for block in range(100, 103)
    ]
    assert {len(each) for each in tries} == {MAX_OTHERS}
    assert {repr(action) for each in tries for action in each} == {
        repr(each.action) for each in plan.others
    }
    none = trials(plan, cast("Any", None), None, cast("Any", None), block=100, most_others=0)
    assert not any(each.instead for each in none)


def test_judged__simulation_differs_from_the_prediction__takes_no_other_way() -> None:
    tries = [*tried("the simulation differs"), other(WAYS.others[1], WAYS.others[1])]
    assert judged(tries, [prepared(), prepared()]) == ("the simulation differs", prepared())
