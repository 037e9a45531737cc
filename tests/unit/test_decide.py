"""When to act: the floor always, the forecast once per danger."""

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.model.book import Floats
from keeper.model.units import WAD, Wad
from keeper.policy.decide import Decisions, Triggers, decide, disarm, floats_from_healths
from keeper.policy.settings import Policy

TRIGGER = 0.05


def policy(
    *, trigger: float | None = TRIGGER, max_health_to_act: float = 1.4, target: float = 1.4
) -> Policy:
    return Policy(
        name="forecast",
        floor=Wad(115 * WAD // 100),
        trigger_probability=trigger,
        horizon_s=86_400,
        target=Wad(round(target * 100) * WAD // 100),
        max_health_to_act=Wad(round(max_health_to_act * 100) * WAD // 100),
        max_per_action_usd8=10**12,
        max_per_day_usd8=10**12,
        min_action_usd8=0,
    )


def one(health: float, probability: float, rules: Policy, *, armed: bool = True) -> Decisions:
    return decide(
        np.array([health]), np.array([probability]), Triggers.of([rules]), np.array([armed])
    )


@pytest.mark.parametrize(
    ("health", "probability", "armed", "causes"),
    [
        (1.14, 0.0, True, ["floor"]),
        (1.14, 0.99, True, ["floor"]),
        (1.14, nan, False, ["floor"]),
        (1.15, 0.0, True, []),
        (1.30, 0.051, True, ["forecast"]),
        (1.30, 0.05, True, []),
        (1.30, 0.99, False, []),
        (1.30, nan, True, []),
        (1.40, 0.99, True, []),
        (nan, 1.0, True, []),
    ],
)
def test_decide__one_row__acts_for_one_cause_or_not(
    health: float, probability: float, armed: bool, causes: list[str]
) -> None:
    decisions = one(health, probability, policy(), armed=armed)
    assert [cause for _, cause in decisions.acting()] == causes


def test_decide__no_trigger_in_the_policy__only_the_floor_acts() -> None:
    assert not list(one(1.16, 1.0, policy(trigger=None)).acting())
    assert list(one(1.14, 1.0, policy(trigger=None)).acting()) == [(0, "floor")]


def test_decide__max_health_to_act__bounds_the_forecast() -> None:
    assert not list(one(1.30, 0.5, policy(max_health_to_act=1.2)).acting())
    assert list(one(1.19, 0.5, policy(max_health_to_act=1.2)).acting()) == [(0, "forecast")]


def test_decide__health_at_or_above_target__has_nothing_to_restore() -> None:
    assert not list(one(1.45, 0.5, policy(max_health_to_act=2.0)).acting())


def test_decide__many_rows__acting_names_each_once_in_order() -> None:
    health, probability = np.array([1.1, 1.3, nan, 1.3]), np.array([0.5, 0.5, 0.5, 0.01])
    decisions = decide(health, probability, Triggers.of([policy()] * 4), np.ones(4, dtype=np.bool_))
    assert list(decisions.acting()) == [(0, "floor"), (1, "forecast")]


@given(st.integers(-5, 5))
def test_decide__exact_health_around_the_floor__never_acts_at_or_above_it(units: int) -> None:
    rules = policy()
    (health,) = floats_from_healths([Wad(rules.floor + units)])
    acted = bool(list(one(health, 0.0, rules).acting()))
    assert not (acted and units >= 0)


def test_floats_from_healths__no_debt__is_nan() -> None:
    assert np.isnan(floats_from_healths([None, Wad(WAD)])).tolist() == [True, False]


chances = st.floats(0.0, 1.0) | st.just(nan)


@given(st.lists(chances, max_size=60), st.floats(1.15, 1.39))
def test_decide__probability_crossing_back_and_forth__one_action_until_it_was_calm(
    path: list[float], health: float
) -> None:
    armed = np.ones(1, dtype=np.bool_)
    calm_since_action = True
    for probability in path:
        decisions = decide(
            np.array([health]), np.array([probability]), Triggers.of([policy()]), armed
        )
        armed = decisions.armed
        acted = list(decisions.acting())
        assert acted == ([(0, "forecast")] if probability > TRIGGER and calm_since_action else [])
        if acted:
            # The action reached its target; health has drifted down again by the next block.
            armed = disarm(armed, [0])
            calm_since_action = False
        calm_since_action |= probability <= TRIGGER


def test_decide__action_that_fell_short__is_followed_by_another() -> None:
    first = one(1.2, 0.5, policy())
    second = decide(np.array([1.3]), np.array([0.3]), Triggers.of([policy()]), first.armed)
    assert list(second.acting()) == [(0, "forecast")]


rows = st.lists(
    st.tuples(st.floats(0.5, 2.0) | st.just(nan), chances, st.booleans(), st.booleans()),
    min_size=1,
    max_size=20,
)


def columns(
    book: list[tuple[float, float, bool, bool]],
) -> tuple[Floats, Floats, Triggers, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    health, probability, armed, forecasts = zip(*book, strict=True)
    policies = [policy(trigger=TRIGGER if wanted else None) for wanted in forecasts]
    return np.array(health), np.array(probability), Triggers.of(policies), np.array(armed)


@given(rows)
def test_decide__any_book__the_forecast_never_loosens_the_floor(
    book: list[tuple[float, float, bool, bool]],
) -> None:
    health, probability, triggers, armed = columns(book)
    decisions = decide(health, probability, triggers, armed)
    without = decide(health, np.zeros(len(book)), triggers, np.zeros(len(book), dtype=np.bool_))
    assert (decisions.floor == without.floor).all()
    assert (decisions.floor == (health < 1.15)).all()
    assert not (decisions.floor & decisions.forecast).any()
    assert (health[decisions.forecast] < 1.4).all()


@given(rows)
def test_decide__same_input__same_output_and_untouched_input(
    book: list[tuple[float, float, bool, bool]],
) -> None:
    health, probability, triggers, armed = columns(book)
    before = armed.copy()
    first, second = (decide(health, probability, triggers, armed) for _ in range(2))
    assert list(first.acting()) == list(second.acting())
    assert (first.armed == second.armed).all()
    disarm(armed, [0])
    assert (armed == before).all()
