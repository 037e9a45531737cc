"""`make bench`: every figure in one run, as a table and as build/bench.json.

Durations and rates are printed, never asserted; what is asserted is that all sides did the same.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from keeper.devnet.chain import ChainSpec, local_chain
from keeper.devnet.toolchain import install
from tests.benchmarks import (
    broadcasting,
    calibrating,
    forecasting,
    journalling,
    reading,
    replaying,
    report,
    restarting,
    signing,
)
from tests.benchmarks.report import Row
from tests.benchmarks.town import settle

OUTPUT = Path("build", "bench.json")
FIGURES = (
    "reading",
    "signing",
    "journalling",
    "restarting",
    "forecasting",
    "calibrating",
    "replaying",
    "broadcasting",
)
ALONE = {
    "journalling": journalling.measure,
    "forecasting": forecasting.measure,
    "calibrating": calibrating.measure,
    "replaying": replaying.measure,
}
"""Those without a chain."""
IN_TOWN = {
    "reading": reading.measure,
    "signing": signing.measure,
    "restarting": restarting.measure,
}
"""Those over a thousand positions, on one chain."""


def main() -> None:
    """Measure the figures named on the command line, or all."""
    if os.environ.get("OMP_NUM_THREADS") != "1":
        sys.exit("OMP_NUM_THREADS=1 must be set before NumPy is loaded: run `make bench`")
    chosen = sys.argv[1:] or list(FIGURES)
    if unknown := set(chosen) - set(FIGURES):
        sys.exit(f"no such figure: {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rows: list[Row] = []
    notes: list[str] = []

    def add(measured: Coroutine[Any, Any, tuple[list[Row], str]]) -> None:
        more, note = asyncio.run(measured)
        rows.extend(more)
        notes.append(note)

    toolchain = install(lambda _: None)
    for figure, measure in ALONE.items():
        if figure in chosen:
            add(measure())
    if in_town := [figure for figure in IN_TOWN if figure in chosen]:
        with local_chain(ChainSpec(), toolchain) as chain:
            town = settle(chain)
            for figure in in_town:
                add(IN_TOWN[figure](town))
    if "broadcasting" in chosen:
        add(broadcasting.measure(toolchain))
    report.write(OUTPUT, rows)
    report.show(rows, [*notes, f"Written to {OUTPUT}."])


if __name__ == "__main__":
    main()
