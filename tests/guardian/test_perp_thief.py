"""The thief against the perp guardian, for a few sequences here; `make fuzz` sends him on."""

import os
import sys

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from keeper.devnet.perp_market import PerpMarket
from tests.guardian.perp_thief import PerpThief
from tests.guardian.robbery import Tally

N = int(os.environ.get("N", "96"))
SEED = os.environ.get("SEED")
STEPS = 10
CALLS_PER_SEQUENCE = 16
"""As counted, to know how many sequences make about N calls."""


def test_perp_thief__in_any_order__takes_no_more_than_the_bound(perp: PerpMarket) -> None:
    class Trying(PerpThief):
        pass

    Trying.perp, Trying.tally = perp, Tally()
    run_state_machine_as_test(
        Trying if SEED is None else seed(int(SEED))(Trying),
        settings=settings(
            max_examples=-(-N // CALLS_PER_SEQUENCE),
            stateful_step_count=STEPS,
            derandomize=SEED is None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    sys.stderr.write(f"{Trying.tally}\n")
    # What he cannot do proves little unless he can do something.
    assert Trying.tally.succeeded >= 0.3 * Trying.tally.sequences
    assert Trying.tally.worst >= 0.5
