"""The thief, for a few sequences here; `make fuzz N=… SEED=…` sends him on for more calls."""

import os
import sys

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from keeper.devnet.artifacts import Artifacts
from keeper.devnet.chain import LocalChain
from keeper.devnet.toolchain import Toolchain
from tests.guardian.mocks import list_odd_token
from tests.guardian.robbery import Tally
from tests.guardian.thief import Thief

N = int(os.environ.get("N", "240"))
SEED = os.environ.get("SEED")
STEPS = 12
CALLS_PER_SEQUENCE = 15
"""As counted, to know how many sequences make about N calls."""


def test_thief__in_any_order__takes_no_more_than_the_bound(
    chain: LocalChain, toolchain: Toolchain
) -> None:
    class Trying(Thief):
        pass

    Trying.chain, Trying.tally = chain, Tally()
    Trying.odd = list_odd_token(chain, Artifacts(node_modules=toolchain.node_modules))
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
