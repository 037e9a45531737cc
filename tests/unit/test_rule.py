"""A rule's numbers, and how they are fitted to a position."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keeper.backtest.policies import chosen, load, roster, save, shipped_default
from keeper.model.errors import ConfigurationError
from keeper.policy.policy_file import Fitted, PolicyFile
from keeper.policy.rule import Rule, tailored
from keeper.policy.worth import share_at

GUARD = Rule(
    floor=1.25, target=1.40, pair_share={"ETH/BTC": 0.4}, rare_jump_after_s={60: 0.08, 900: 0.16}
)


def floor_and_target(rule: Rule, pair: str, health: float, latency_s: float) -> tuple[float, float]:
    found = tailored(rule, [pair], np.array([health]), np.array([latency_s]))
    return float(found.triggers.floor[0]), float(found.target[0])


def test_tailored__volatile_pair_with_room__takes_the_rules_own_numbers() -> None:
    assert floor_and_target(GUARD, "ETH/USD", 1.6, 60.0) == pytest.approx((1.25, 1.40))


def test_tailored__correlated_pair__is_given_its_share_of_the_room() -> None:
    # 1 + 0.25 × 0.4 and 1 + 0.40 × 0.4.
    assert floor_and_target(GUARD, "ETH/BTC", 1.6, 60.0) == pytest.approx((1.10, 1.16))


def test_tailored__start_below_the_floor__keeps_nine_tenths_of_the_margin() -> None:
    # 1 + 0.9 × 0.10; the target is for all the same.
    assert floor_and_target(GUARD, "ETH/USD", 1.10, 60.0) == pytest.approx((1.09, 1.40))


def test_tailored__start_below_what_prices_jump__is_helped_at_once() -> None:
    # e^0.08 = 1.0833 for a quick response, e^0.23 = 1.2586 for a slow one, above the rule's 1.25.
    rule = Rule(
        floor=1.25,
        target=1.40,
        pair_share={"ETH/BTC": 0.5},
        rare_jump_after_s={60: 0.08, 900: 0.23},
    )
    assert floor_and_target(rule, "ETH/USD", 1.20, 60.0)[0] == pytest.approx(1.18)
    assert floor_and_target(rule, "ETH/USD", 1.06, 60.0)[0] == pytest.approx(np.exp(0.08))
    assert floor_and_target(rule, "ETH/USD", 1.06, 900.0)[0] == pytest.approx(1.25)
    assert floor_and_target(rule, "ETH/BTC", 1.03, 60.0)[0] == pytest.approx(np.exp(0.04))
    assert floor_and_target(rule, "ETH/USD", 1.60, 60.0)[0] == pytest.approx(1.25)


def test_tailored__response_slower_than_any_known__is_given_room_as_the_root_of_time() -> None:
    # An hour is four quarters of one: e^(2 × 0.10) = 1.2214, while ten minutes keep to e^0.10.
    rule = Rule(floor=1.25, target=1.40, rare_jump_after_s={60: 0.10, 900: 0.10})
    assert floor_and_target(rule, "ETH/USD", 1.06, 3_600.0)[0] == pytest.approx(np.exp(0.20))
    assert floor_and_target(rule, "ETH/USD", 1.06, 600.0)[0] == pytest.approx(np.exp(0.10))


def test_tailored__rule_that_knows_no_jumps__scales_no_floor_down() -> None:
    rule = Rule(floor=1.25, target=1.40)
    assert floor_and_target(rule, "ETH/USD", 1.06, 60.0) == pytest.approx((1.25, 1.40))


@pytest.mark.parametrize("policy", [p for p in roster() if p.rule and p.rule.scaled_to_start])
@pytest.mark.parametrize("start", [1.0, 1.0245, 1.06, 1.10, 1.20])
def test_shipped__seen_first_in_a_crash__has_room_for_what_prices_jump(
    policy: PolicyFile, start: float
) -> None:
    # Of all dollar pairs together, once in 100,000 moments of 2018 to 2021: 7.98 % (log) within the
    # response of a minute and the five minutes of seeing it.
    assert policy.rule
    floor, target = floor_and_target(policy.rule, "ETH/USD", start, 60.0)
    assert floor >= np.exp(0.0798) > 1.083
    assert target == policy.rule.target


def test_tailored__slow_response__raises_the_floor_by_what_prices_jump_in_the_meantime() -> None:
    # Halfway between 5 and 15 minutes: e^(0.14 − 0.08) = 1.0618.
    slow = Rule(floor=1.25, target=1.40, jump_after_s={60: 0.08, 300: 0.12, 900: 0.16})
    floor, target = floor_and_target(slow, "ETH/USD", 1.6, 600.0)
    assert floor == pytest.approx(1.25 * np.exp(0.06))
    assert target == pytest.approx(1.40 * np.exp(0.06))
    assert floor_and_target(slow, "ETH/USD", 1.6, 60.0) == pytest.approx((1.25, 1.40))


def test_tailored__pair_of_its_own__takes_its_numbers() -> None:
    rule = Rule(floor=1.25, target=1.40, by_pair={"SOL/USD": (1.3, 1.5)})
    assert floor_and_target(rule, "SOL/USD", 1.6, 60.0) == pytest.approx((1.3, 1.5))


def test_share_at__steepness__is_the_power_of_health() -> None:
    # 1.25^−10 = 0.1074; at 1.02 it would be 0.82, at 0.95 1.67, above the most.
    found = share_at(np.array([1.25, 1.02, 0.95]), np.ones(3), np.full(3, 10.0))
    assert found.tolist() == pytest.approx([0.10737, 0.82035, 1.5], abs=1e-5)


def test_share_at__no_steepness__is_the_same_everywhere() -> None:
    assert share_at(np.array([1.25, 1.01]), np.full(2, 0.4), np.zeros(2)).tolist() == [0.4, 0.4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"floor": 1.0, "target": 1.2},
        {"floor": 1.3, "target": 1.2},
        {"floor": 1.1, "target": float("nan")},
        {"floor": 1.1, "target": 1.2, "guard_share": 0.0},
        {"floor": 1.1, "target": 1.2, "trigger_probability": 1.0},
        {"floor": 1.1, "target": 1.2, "pair_share": {"ETH/BTC": 1.5}},
        {"floor": 1.1, "target": 1.2, "by_pair": {"ETH/BTC": (1.2, 1.1)}},
        {"floor": 1.1, "target": 1.2, "guard_steepness": -1.0},
    ],
)
def test_rule__numbers_that_cannot_be__are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        Rule(**wrong)


# -- as a document ---------------------------------------------------------------------------------

POLICY = PolicyFile(
    id="mine",
    about="Fitted.",
    default=False,
    rule=Rule(
        floor=1.2,
        target=1.5,
        guard_share=None,
        jump_after_s={60: 0.08},
        by_pair={"ETH/USD": (1.1, 1.3)},
        means="pool only",
    ),
    fitted=Fitted(
        start=date(2018, 1, 1), until=date(2021, 12, 31), configurations=60, inputs={"a.csv": "00"}
    ),
)


def test_policy_file__written_and_read__is_the_same(tmp_path: Path) -> None:
    save(POLICY, tmp_path / "mine.json")
    assert load(tmp_path / "mine.json") == POLICY
    assert chosen(["nothing", str(tmp_path / "mine.json")])[1] == POLICY


def test_policy_file__whose_data_ends_long_ago__is_warned_of() -> None:
    assert POLICY.age_warning(date(2022, 6, 1)) is None
    assert "2021-12-31, 1097 days ago" in (POLICY.age_warning(date(2025, 1, 1)) or "")


def test_roster__what_ships__has_one_default_and_does_nothing_first() -> None:
    assert [policy.id for policy in roster() if policy.default] == [shipped_default().id]
    assert roster()[0].rule is None
    assert {"fixed_guard_1.25_1.40", "fixed_1.05_1.20", "fixed_1.05_1.30", "fixed_1.10_1.30"} <= {
        policy.id for policy in roster()
    }


def broken(**change: Any) -> str:
    return json.dumps(POLICY.to_json() | change)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[]", "the policy must be a JSON object"),
        (broken(version=2), "it is of version 2, this keeper reads version 1"),
        (broken(surprise=1), "the policy has an unknown key: surprise"),
        (broken(default="yes"), "default is 'yes', bool needed"),
        (broken(rule={"floor": 1.2}), "the rule lacks target"),
        (broken(rule={"floor": 1.2, "target": 1.1}), "1 < floor < target"),
        (broken(rule={"floor": "high", "target": 1.1}), "floor is 'high', a number needed"),
        (broken(rule={"floor": 1.2, "target": 1.3, "gaurd_share": 1}), "unknown key: gaurd_share"),
        (broken(rule={"floor": 1.2, "target": 1.3, "means": "luck"}), "means is 'luck'"),
        (broken(fitted={"until": "2021-12-31"}), "fitted lacks configurations, inputs, start"),
    ],
)
def test_load__what_is_no_policy__is_refused_with_its_reason(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_page__table_of_rules__has_the_numbers_that_ship() -> None:
    page = (Path(__file__).parents[2] / "docs" / "BACKTEST.md").read_text()
    rows = {
        cells[0].strip("*"): cells[1:]
        for line in page.split("## The rules")[1].split("## ")[0].splitlines()
        if line.startswith("| ")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    for policy in roster():
        floor, target, cost = rows[policy.id]
        if policy.rule is None or policy.rule.by_pair:
            continue
        assert floor.startswith(f"{policy.rule.floor:.2f}")
        assert target.startswith(f"{policy.rule.target:.2f}")
        if policy.rule.guard_share is None:
            assert cost.startswith("anything")
        elif not policy.rule.guard_steepness:
            assert cost.startswith(f"{policy.rule.guard_share:g} ×")


def rows_of(page: str, heading: str) -> list[list[str]]:
    text = (Path(__file__).parents[2] / "docs" / page).read_text().split(heading)[1]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]


def test_page__presets__have_the_published_tables_figures() -> None:
    published = {
        cells[0]: (cells[3], cells[6], cells[7])
        for cells in rows_of("BACKTEST.md", "<!-- results -->")
        if cells[1] == "pooled"
    }
    presets = {
        cells[0].split("`")[1] if "`" in cells[0] else "nothing": tuple(cells[4:])
        for cells in rows_of("POLICY.md", "## Presets")[1:6]
    }
    assert presets.keys() == {"careful", "balanced", "thrifty", "watchful", "nothing"}
    assert presets == {name: published[name] for name in presets}


def test_page__published_table__has_a_row_of_every_policy_that_ships() -> None:
    pooled = [
        cells[0] for cells in rows_of("BACKTEST.md", "<!-- results -->") if cells[1] == "pooled"
    ]
    assert pooled == [
        policy.id for policy in sorted(roster(), key=lambda p: (p.id != "nothing", p.id))
    ]
