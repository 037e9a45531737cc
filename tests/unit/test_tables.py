"""Running-minimum tables on laws whose first passage is known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from keeper.backtest.shipped import load, save, shipped
from keeper.forecast.calibration import HEALTHS, Calibration
from keeper.forecast.realised import HORIZONS_S, HOUR_S, WINDOWS_S, LogHar
from keeper.forecast.tables import GRID, POOLED, Tables
from keeper.model.errors import ConfigurationError

N = 60_000


def fitted(**runs: np.ndarray) -> Tables:
    return Tables.fit(
        {(pair, horizon): run for pair, run in runs.items() for horizon in HORIZONS_S}
    )


def brownian_runs(seed: int, n: int = N) -> np.ndarray:
    """The furthest fall of a Brownian motion within time T is |N(0, T)|: the reflection principle."""
    return np.abs(np.random.default_rng(seed).normal(size=n))


def test_tables__brownian_motion__give_the_reflection_principle() -> None:
    tables = fitted(a=brownian_runs(1), b=brownian_runs(2))
    distance = np.array([0.5, 1.0, 2.0, 2.5]) * 1e-4 * 60.0  # σ = 1e-4 per √s, T = one hour
    probability = tables.probability(distance, 1e-4, HOUR_S, "a")
    assert probability == pytest.approx(2.0 * norm.sf([0.5, 1.0, 2.0, 2.5]), rel=0.06)


def test_tables__power_law_tail__is_carried_on_beyond_the_data() -> None:
    # P(Z > z) = z^-4: a generalised Pareto law with shape 1/4. At z = 30 none of the runs is left.
    runs = np.random.default_rng(3).uniform(size=N) ** -0.25
    tables = fitted(a=runs, b=np.random.default_rng(4).uniform(size=N) ** -0.25)
    far = tables.probability(np.array([30.0]), 1.0 / np.sqrt(HOUR_S), HOUR_S)
    assert 0.25 < far[0] / 30.0**-4 < 4.0


def test_tables__rare_jumps__are_kept_where_the_closed_form_sees_none() -> None:
    rng = np.random.default_rng(5)
    jumps = np.where(rng.uniform(size=N) < 0.01, 8.0 + rng.uniform(size=N), 0.0)
    runs = np.maximum(np.abs(rng.normal(size=N)), jumps)
    at_six = fitted(a=runs).probability(np.array([6.0]), 1.0 / np.sqrt(HOUR_S), HOUR_S, "a")
    assert at_six[0] == pytest.approx(0.01, rel=0.15)
    assert 2.0 * norm.sf(6.0) < 1e-8


def test_tables__a_pair_with_few_episodes__stands_near_the_pooled_table() -> None:
    tables = fitted(many=brownian_runs(6), few=3.0 * brownian_runs(7, n=40))
    known, few, pooled = (
        tables.curve(HOUR_S, pair)[np.searchsorted(GRID, 2.0)] for pair in ("many", "few", POOLED)
    )
    # 20 independent origins against a weight of 200: a tenth of the way from the pooled to its own.
    assert known < pooled < few
    assert few < pooled + 0.1
    assert (tables.curve(HOUR_S, "never seen") == tables.curve(HOUR_S)).all()


def test_probability__edges__are_one_at_the_boundary_and_nothing_at_infinity() -> None:
    tables = fitted(a=brownian_runs(8))
    distance = np.array([-0.1, 0.0, 0.01, np.inf])
    assert tables.probability(distance, np.array([1e-4, 0.0, 0.0, 1e-4]), DAY)[
        [0, 1, 2, 3]
    ].tolist() == [
        1.0,
        1.0,
        0.0,
        0.0,
    ]


DAY = 24 * HOUR_S


def test_curve__every_horizon__falls_with_distance() -> None:
    tables = fitted(a=brownian_runs(9), b=2.0 * brownian_runs(10, n=500))
    for horizon in (60, 300, 2000, 7200, 10**6):
        for pair in ("a", "b", None):
            assert (np.diff(tables.curve(horizon, pair)) <= 1e-12).all()


def test_calibration__written_and_read__forecasts_the_same(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("calibration") / "it.json"
    made = shipped()
    save(made, path)
    again = load(path)
    assert again.spans == made.spans
    assert (again.tables.curve(HOUR_S, "ETH/USD") == made.tables.curve(HOUR_S, "ETH/USD")).all()


def test_calibration__of_another_version__is_refused() -> None:
    document = shipped().to_json() | {"version": 0}
    with pytest.raises(ValueError, match="another version"):
        Calibration.from_json(document)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "Expecting value"),
        ("{}", "of another version"),
        (None, "No such file"),
        ('{"version": 1, "horizons_s": H, "windows_s": W, "healths": E}', "lacks something"),
    ],
)
def test_shipped__file_that_is_none__is_refused_with_the_fix(
    tmp_path: Path, text: str | None, what: str
) -> None:
    path = tmp_path / "calibration.json"
    if text is not None:
        for letter, values in (("H", HORIZONS_S), ("W", WINDOWS_S), ("E", HEALTHS)):
            text = text.replace(letter, str(list(values)))
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=what) as caught:
        shipped(path)
    assert "keeper forecast fit" in str(caught.value)


def test_calibration__table_of_no_probabilities__is_refused() -> None:
    document = shipped().to_json()
    document["tables"]["reached"]["ETH/USD"][0][0] = 1.5
    with pytest.raises(ValueError, match="ETH/USD is not one of probabilities"):
        Calibration.from_json(document)


def test_shipped__a_pair_by_either_name__has_its_table_and_others_the_pooled_one() -> None:
    made = shipped()
    assert made.table_of("ETH/USD") == made.table_of("USD/ETH") == "ETH/USD"
    assert made.table_of("DOGE/USD") == made.table_of(None) == POOLED
    assert all(len(digest) == 64 for digest in made.inputs.values())
    assert isinstance(made.har, LogHar)


def test_shipped__calm_and_storm__are_told_apart() -> None:
    made = shipped()
    calm, storm = (
        np.full((1, 4), np.log(0.4**2 / 31_536_000)),
        np.full((1, 4), np.log(1.5**2 / 31_536_000)),
    )
    chances = [
        float(
            made.probability(
                np.array([0.05]), made.sigma(rates, np.zeros(1), DAY, pair), DAY, pair
            )[0]
        )
        for rates in (calm, storm)
        for pair in ("ETH/USD", None)
    ]
    assert max(chances[:2]) < 0.15 < 0.3 < min(chances[2:])
