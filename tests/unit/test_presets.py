"""Presets and policy files: what they come to, for whom, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from keeper.backtest.policies import roster
from keeper.config import load_settings
from keeper.config.settings import Settings
from keeper.devnet.twins import TWINS
from keeper.engine.fitting import Fitting, in_force
from keeper.engine.outlook import nothing_known
from keeper.engine.roster import Roster
from keeper.engine.watch import Snapshot, Watched
from keeper.model.errors import ConfigurationError
from keeper.model.units import WAD, Wad
from keeper.model.values import PositionState
from keeper.policy.consider import not_worth
from keeper.policy.costs import Costs
from keeper.policy.policy_file import PolicyFile
from keeper.policy.rule import Rule, tailored
from keeper.policy.tailoring import PEGGED, UNKNOWN, fitted_to, health_of, pegged_by_terms
from keeper.protocols.perp_v2_book import book_rows
from keeper.storage.store import Store
from tests.unit.perp_values import ETHER, account, leg, snapshot
from tests.unit.test_config import VALID
from tests.unit.test_plan import POLICY, USD8
from tests.unit.toy_chain import ALICE, Ground

FIGURES = """floor = 1.15
trigger_probability = 0.05
target = 1.40
"""
RULE = Rule(
    floor=1.25,
    target=1.4,
    pair_share={"ETH/BTC": 0.35, "stETH/ETH": 0.15},
    rare_jump_after_s={60: 0.08},
)


def loaded(tmp_path: Path, figures: str) -> Settings:
    assert FIGURES in VALID
    path = tmp_path / "keeper.toml"
    path.write_text(VALID.replace(FIGURES, figures))
    return load_settings(path, {"KEEPER_KEYSTORE_PASSWORD": "x"})


def refusal(tmp_path: Path, figures: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        loaded(tmp_path, figures)
    return str(refused.value)


# -- the figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "floor", "target", "trigger", "share"),
    [
        ("careful", 1.35, 1.55, None, 0.8),
        ("balanced", 1.25, 1.40, None, 0.4),
        ("thrifty", 1.15, 1.35, None, 0.2),
        ("watchful", 1.15, 1.40, 0.10, 0.4),
        (None, 1.25, 1.40, None, 0.4),
    ],
)
def test_preset__alone__has_its_documented_row(
    tmp_path: Path,
    preset: str | None,
    floor: float,
    target: float,
    trigger: float | None,
    share: float,
) -> None:
    settings = loaded(tmp_path, "" if preset is None else f'preset = "{preset}"\n')
    policy, rule = settings.policies["careful"], settings.rules["careful"]
    assert (policy.floor, policy.target) == (health_of(floor), health_of(target))
    assert (policy.trigger_probability, policy.guard_share) == (trigger, share)
    assert policy.max_health_to_act == policy.target
    assert (rule.floor, rule.target, rule.trigger_probability) == (floor, target, trigger)


def test_preset__with_figures_beside_it__they_win_and_floor_and_target_are_meant_as_written(
    tmp_path: Path,
) -> None:
    cautious = loaded(tmp_path, 'preset = "balanced"\nguard_share = 1.0\ncooldown = "2m"\n')
    policy = cautious.policies["careful"]
    assert (policy.guard_share, policy.cooldown_s, policy.floor) == (1.0, 120, health_of(1.25))
    assert cautious.rules["careful"].guard_share == 1.0
    own = loaded(tmp_path, 'preset = "balanced"\ntarget = 1.5\n')
    assert (own.policies["careful"].floor, own.policies["careful"].target) == (
        health_of(1.25),
        health_of(1.5),
    )
    assert own.rules == {}


def test_figures__without_a_preset__are_meant_as_written(tmp_path: Path) -> None:
    settings = loaded(tmp_path, FIGURES)
    assert settings.policies["careful"].floor == Wad(115 * WAD // 100)
    assert (settings.rules, settings.policy_files) == ({}, {})


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ('preset = "bold"\n', '"bold" is not known here'),
        ('preset = "balanced"\nfile = "p.json"\n', "this policy has a preset and a file"),
        ("floor = 1.2\n", "`target` is missing"),
        ("target = 1.2\n", "`floor` is missing"),
        ('preset = "balanced"\nfloor = 1.45\n', "target is not above floor"),
        ('preset = "balanced"\nmax_health_to_act = 1.2\n', "max_health_to_act is below floor"),
        ('file = "none.json"\n', "it cannot be used as a policy"),
    ],
)
def test_policy__what_cannot_be_meant__is_refused(
    tmp_path: Path, figures: str, message: str
) -> None:
    said = refusal(tmp_path, figures)
    assert message in said
    assert "fix: " in said


def test_policy_file__fitted__is_used_and_a_broken_one_or_one_for_comparison_refused(
    tmp_path: Path,
) -> None:
    file = PolicyFile(id="mine", about="Mine.", default=False, rule=RULE, fitted=None)
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(file.to_json()))
    settings = loaded(tmp_path, 'file = "policy.json"\n')
    assert settings.rules["careful"] == RULE
    assert settings.policy_files["careful"] == file
    path.write_text(json.dumps(file.to_json() | {"version": 9}))
    assert "it is of version 9" in refusal(tmp_path, 'file = "policy.json"\n')
    rivals: list[dict[str, Any]] = [
        {"means": "pool only"},
        {"service_fee_share": 0.001},
        {"swap_fee_share": 0.0025},
        {"least_debt_usd": 30_000.0},
    ]
    for change in rivals:
        path.write_text(json.dumps(replace(file, rule=replace(RULE, **change)).to_json()))
        assert "is there to be compared with" in refusal(tmp_path, 'file = "policy.json"\n')


def test_demo__last_twin__is_told_by_the_preset_that_its_configuration_names(
    tmp_path: Path,
) -> None:
    twin = next(each for each in TWINS if each.name == "forecast")
    assert twin.policy is not None
    settings = loaded(tmp_path, f'preset = "{twin.policy.preset}"\n')
    policy = settings.policies["careful"]
    assert policy.floor == health_of(float(twin.policy.floor))
    assert policy.target == health_of(float(twin.policy.target))
    assert policy.trigger_probability == float(twin.policy.trigger_probability or 0)
    # Nothing but the preset and the limits is written: no figure that could differ from the file's.
    keys = [line.split(" = ")[0] for line in twin.policy.toml().splitlines()]
    assert keys == ["preset", "max_per_action_usd", "max_per_day_usd"]


# -- fitted to a position ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "start", "floor", "target"),
    [
        ("ETH/USD", 1.60, 1.25, 1.40),
        # Nine tenths of the margin of 0.10.
        ("ETH/USD", 1.10, 1.09, 1.40),
        ("ETH/BTC", 1.60, 1.0875, 1.14),
        ("stETH/ETH", 1.60, 1.0375, 1.06),
        ("stETH/ETH", 1.03, 1.027, 1.06),
        (PEGGED, 1.60, 1.0375, 1.06),
        # It may be ETH/USD in the middle of a crash: e^0.08 = 1.0833.
        (UNKNOWN, 1.0245, 1.083287068, 1.40),
        (UNKNOWN, 1.10, 1.09, 1.40),
        (UNKNOWN, 1.30, 1.25, 1.40),
    ],
)
def test_fitted_to__worked_by_hand__scales_with_the_pair_and_the_start(
    pair: str, start: float, floor: float, target: float
) -> None:
    written = replace(POLICY, max_health_to_act=POLICY.target)
    found = fitted_to(RULE, written, pair=pair, start=health_of(start))
    assert (found.floor, found.target) == (health_of(floor), health_of(target))
    assert found.max_health_to_act == found.target


SERVABLE = {
    policy.id: policy.rule
    for policy in roster()
    if policy.rule is not None and policy.rule.means == "reserve first"
}


@pytest.mark.parametrize("rule", SERVABLE.values(), ids=SERVABLE)
@pytest.mark.parametrize("pair", ["ETH/USD", "SOL/USD", "ETH/BTC", "stETH/ETH"])
@pytest.mark.parametrize("start", [1.02, 1.12, 1.60])
@pytest.mark.parametrize("response_s", [60, 300, 900])
def test_fitted_to__whatever_ships__is_what_the_replay_takes(
    rule: Rule, pair: str, start: float, response_s: int
) -> None:
    written = replace(POLICY, max_health_to_act=POLICY.target, response_s=response_s)
    found = fitted_to(rule, written, pair=pair, start=health_of(start))
    replayed = tailored(rule, [pair], np.array([start]), np.array([float(response_s)]))
    assert found.floor / WAD == pytest.approx(float(replayed.triggers.floor[0]), abs=2e-9)
    assert found.target / WAD == pytest.approx(float(replayed.target[0]), abs=2e-9)
    assert found.guard_steepness == pytest.approx(
        rule.guard_steepness / float(replayed.pair_share[0])
    )


def test_fitted_to__every_number_of_a_rule__counts() -> None:
    # Five minutes: e^(0.06 − 0.04) on 1.30 and 1.60 of the pair's own; half as correlated.
    rule = Rule(
        floor=1.25,
        target=1.40,
        guard_steepness=12.0,
        jump_after_s={60: 0.04, 300: 0.06},
        rare_jump_after_s={60: 0.08, 300: 0.12},
        pair_share={"ETH/BTC": 0.5},
        by_pair={"ETH/BTC": (1.30, 1.60)},
    )
    written = replace(POLICY, max_health_to_act=POLICY.target, response_s=300)
    found = fitted_to(rule, written, pair="ETH/BTC", start=health_of(1.9))
    assert found.floor / WAD == pytest.approx(1 + (1.30 * 1.0202013 - 1) / 2, abs=1e-6)
    assert found.target / WAD == pytest.approx(1 + (1.60 * 1.0202013 - 1) / 2, abs=1e-6)
    assert found.guard_steepness == 24.0
    low = fitted_to(rule, written, pair="ETH/BTC", start=health_of(1.02))
    # Half of the rarer jump of 0.12.
    assert low.floor / WAD == pytest.approx(1.0618365, abs=1e-6)


# Maintenance of 6.25 % of the notional. A long's price falls to 1/1.25 of it: a loss of 0.2 of the notional,
# and 0.8 × 0.0625 must be left: 0.25 / 0.0625 = 4. A short's rises to 1.25: (0.25 + 1.25 × 0.0625) / 0.0625.
# To 1.40 of it: (2/7 + 5/7 × 0.0625) / 0.0625, and (0.40 + 1.40 × 0.0625) / 0.0625.
LONG, SHORT = (4.0, 5.285714286), (5.25, 7.8)


@pytest.mark.parametrize(
    ("size", "margin", "floor", "target"),
    [
        # Leverage 2, far above the floor.
        ("10", 10_000, *LONG),
        ("-10", 10_000, *SHORT),
        # Leverage 5, health 3.2. It is liquidated by a fall to 0.8/0.9375: a room of 1.171875, of which nine
        # tenths are 1.1546875: (1 - 1/1.1546875 + 0.0625/1.1546875) / 0.0625.
        ("10", 4_000, 3.009472260, LONG[1]),
        # Leverage 10: within the rare jump of e^0.08 of it: (1 - e^-0.08 + 0.0625 e^-0.08) / 0.0625.
        ("10", 2_000, 2.153254805, LONG[1]),
    ],
)
def test_fitted_to__perp__has_the_room_in_prices_that_a_loan_has(
    size: str, margin: int, floor: float, target: float
) -> None:
    position = account(leg(ETHER, size, 2_000), margin=margin)
    written = replace(POLICY, max_health_to_act=POLICY.target)
    row = book_rows(snapshot(position)).book
    assert position.health is not None
    found = fitted_to(RULE, written, pair=UNKNOWN, start=position.health, perp=row)
    assert found.floor / WAD == pytest.approx(floor, abs=2e-9)
    assert found.target / WAD == pytest.approx(target, abs=2e-9)
    assert found.max_health_to_act == found.target


def test_in_force__what_a_command_tells__is_what_the_daemon_acts_by() -> None:
    position = account(leg(ETHER, "10", 2_000), margin=4_000)
    one = Watched(id=position.id, label="perp", policy=POLICY, rule=RULE)
    seen = cast("Snapshot", SimpleNamespace(positions=[position] * 2))
    book = book_rows(snapshot(position)).book.take(np.zeros(2, dtype=np.intp))
    outlook = replace(nothing_known(2), book=book, rows=np.arange(2))
    # The second has figures of its own, which are meant as they stand.
    rows = [one, replace(one, rule=None)]
    now, written = in_force(rows, seen, outlook, {})
    assert now.policy.floor / WAD == pytest.approx(3.009472260, abs=2e-9)
    assert written.policy == POLICY
    begun, _ = in_force(rows, seen, outlook, {position.id: health_of(8.0)})
    assert begun.policy.floor / WAD == pytest.approx(LONG[0], abs=2e-9)


async def test_fit__perp_turned_around_by_its_owner__is_fitted_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal.sqlite3")
    try:
        watched = Watched(id=account(margin=0).id, label="perp", policy=POLICY, rule=RULE)
        roster_ = Roster([watched])
        fitting = Fitting(roster_, store)
        for size, floor in (("10", LONG[0]), ("-10", SHORT[0])):
            position = account(leg(ETHER, size, 2_000), margin=10_000)
            rows = book_rows(snapshot(position))
            seen = cast(
                "Snapshot",
                SimpleNamespace(positions=[position], head=SimpleNamespace(timestamp=1)),
            )
            outlook = replace(nothing_known(1), book=rows.book, rows=np.zeros(1, dtype=np.intp))
            assert await fitting.fit(seen, outlook)
            assert roster_[0].policy.floor / WAD == pytest.approx(floor, abs=2e-9)
            # Nothing is known of it in a pass that could not read it.
            assert not await fitting.fit(seen, nothing_known(1))
    finally:
        store.close()


@pytest.mark.parametrize(
    ("threshold_bps", "pegged"),
    # What is lent on volatile collateral, in an efficiency mode, and a perp account whose notional is
    # 16 times its maintenance margin.
    [(8_250, False), (9_000, False), (9_300, True), (10_000, True), (160_000, False)],
)
@pytest.mark.parametrize("price", [1.0, 0.7])
def test_pegged_by_terms__liquidation_threshold__tells_whatever_prices_do(
    threshold_bps: int, pegged: bool, price: float
) -> None:
    collateral, debt = int(1_000 * USD8 * price), 700 * USD8
    health = collateral * threshold_bps * WAD // (10_000 * debt)
    position = SimpleNamespace(health=health, collateral_usd8=collateral, debt_usd8=debt)
    assert pegged_by_terms(cast("PositionState", position)) is pegged


def test_fitted_to__the_owners_ceiling__stays() -> None:
    written = replace(POLICY, max_health_to_act=health_of(1.3))
    found = fitted_to(RULE, written, pair="ETH/USD", start=health_of(1.6))
    assert found.max_health_to_act == health_of(1.3)


def test_not_worth__steep_guard__pays_less_the_farther_from_liquidation() -> None:
    # 0.4 × 1.25⁻² = 0.256 of 100 dollars.
    steep = replace(POLICY, guard_steepness=2.0)
    costs = Costs(gas_usd8=26 * USD8)
    assert not_worth(costs, 100 * USD8, POLICY, health_of(1.25)) is None
    assert not_worth(costs, 100 * USD8, steep, health_of(1.2)) is None
    assert "more than 0.256 ×" in (not_worth(costs, 100 * USD8, steep, health_of(1.25)) or "")


async def test_pass__rule_and_a_start_below_the_floor__waits_for_a_tenth_and_remembers(
    tmp_path: Path,
) -> None:
    ground = Ground(tmp_path / "journal.sqlite3")
    try:
        ground.watch(ALICE.address, replace(POLICY, trigger_probability=None))
        ground.watched[0] = replace(ground.watched[0], rule=RULE)
        await ground.start()
        await ground.look()
        # 16/13 = 1.2308 is below 1.25: the floor is 1 + 0.9 × 0.2308.
        assert ground.position().floor == pytest.approx(1.2077, abs=1e-4)
        assert ground.decisions() == []
        ground.price(1_970)  # 1.2123
        await ground.block()
        await ground.start()
        await ground.look()
        assert ground.position().floor == pytest.approx(1.2077, abs=1e-4)
        assert ground.decisions() == []
        ground.price(1_960)  # 1.2062
        await ground.block()
        (decided,) = ground.decisions()
        # The toy's feed does not say what it prices, and 80 % are lent on it: taken for volatile.
        assert decided.predicted_health == pytest.approx(1.40, abs=1e-3)
    finally:
        ground.store.close()


def test_starts__first_seen__is_kept_until_the_debt_is_gone(tmp_path: Path) -> None:
    from tests.unit.test_plan import LOAN

    store = Store(tmp_path / "journal.sqlite3")
    try:
        store.starts.keep(LOAN.id, health_of(1.2), 1)
        store.starts.keep(LOAN.id, health_of(1.9), 2)
        assert store.starts.all(LOAN.id.chain_id) == {LOAN.id: health_of(1.2)}
        assert store.starts.all(1) == {}
        store.starts.forget(LOAN.id)
        assert store.starts.all(LOAN.id.chain_id) == {}
    finally:
        store.close()
