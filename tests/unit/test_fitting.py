"""What a policy is chosen on, and that nothing later is looked at."""

import numpy as np
import pytest

from keeper.backtest.fitting import falls, ground, jumps, pair_shares
from keeper.backtest.resample import cut, resampled, stressed
from keeper.backtest.tracks import STEP_S, Track, along
from keeper.forecast.realised import DAY_S
from keeper.model.book import Floats

START = 1_600_000_200
DAYS = 120
STEPS = DAYS * DAY_S // STEP_S


def walk(seed: int, scale: float) -> Floats:
    moves = np.random.default_rng(seed).standard_t(4, STEPS) * scale
    return np.asarray(np.log(2_000.0) + np.cumsum(moves - moves.mean()), dtype=np.float64)


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[Track, ...]]:
    ether, coin = walk(1, 0.002), walk(2, 0.001)
    pairs = {"ETH/USD": ether, "BTC/USD": coin, "ETH/BTC": 0.3 * (ether - coin)}
    return {pair: (along(pair, "SPOT", START, path),) for pair, path in pairs.items()}


def test_falls__a_path_worked_by_hand__are_the_deepest_within_the_steps() -> None:
    # 0.6 % a step, so that every step is a round: 100, 99.4, 98.8, 99.4, 98.2.
    logs = np.log([100.0, 99.4, 98.8, 99.4, 98.2])
    track = along("ETH/USD", "SPOT", START, logs)
    found = np.exp(-falls(track, 2))
    assert found.tolist() == pytest.approx([0.988, 98.8 / 99.4, 98.2 / 98.8])


def test_pair_shares__pair_that_moves_little__is_a_small_share(
    known: dict[str, tuple[Track, ...]],
) -> None:
    assert pair_shares(known).keys() == {"ETH/BTC"}
    assert 0.2 < pair_shares(known)["ETH/BTC"] < 0.6


def test_jumps__slower_response__are_deeper(known: dict[str, tuple[Track, ...]]) -> None:
    found = jumps(known)
    assert 0.0 < found[60] < found[300] < found[900]


def test_resampled__blocks__keep_the_jumps_of_all_pairs_together(
    known: dict[str, tuple[Track, ...]],
) -> None:
    made = resampled(known, seed=1, length_s=60 * DAY_S)
    moves = {pair: np.diff(own[0].market) for pair, own in made.items()}
    assert len({len(each) for each in moves.values()}) == 1
    assert np.allclose(moves["ETH/BTC"], 0.3 * (moves["ETH/USD"] - moves["BTC/USD"]))
    again = resampled(known, seed=1, length_s=60 * DAY_S)
    assert (again["ETH/USD"][0].market == made["ETH/USD"][0].market).all()


def test_stressed__shocks__come_to_all_pairs_at_once_by_their_share(
    known: dict[str, tuple[Track, ...]],
) -> None:
    made = stressed(known, {"ETH/BTC": 0.25}, seed=1)
    shift = {pair: made[pair][0].market - known[pair][0].market for pair in known}
    assert shift["ETH/USD"].min() < np.log(0.80)
    assert np.allclose(shift["ETH/BTC"], 0.25 * shift["ETH/USD"])
    assert np.allclose(shift["BTC/USD"], shift["ETH/USD"])
    # Two kinds: rounds that jump there and back, and a bar from which it goes on falling.
    assert (np.diff(shift["ETH/USD"]) < np.log(0.851)).any()
    assert (np.diff(shift["ETH/USD"]) > -np.log(0.851)).any()


def test_ground__prices_after_the_end__change_nothing(known: dict[str, tuple[Track, ...]]) -> None:
    until = START + 100 * DAY_S
    first = int(100 * DAY_S / STEP_S) + 1
    other = {}
    for pair, (track, *_) in known.items():
        later = track.market.copy()
        later[first:] += np.linspace(0.0, -2.0, len(later) - first)
        other[pair] = (along(pair, "SPOT", START, later),)
    one, same = (ground(k, start=START, until=until, seed=1) for k in (known, other))
    assert one.share == same.share
    assert one.jumps == same.jumps
    for name, positions in one.sets.items():
        assert (positions.starts == same.sets[name].starts).all()
        assert (positions.collateral == same.sets[name].collateral).all()
    assert cut(known, START, until)["ETH/USD"][0].end <= until
