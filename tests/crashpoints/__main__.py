"""`make crashpoints N=…`: as many crashes as asked for, from a seed."""

import argparse
import asyncio
import logging
import tempfile
from pathlib import Path

import structlog

from tests.crashpoints.ordeal import endure


def main() -> None:
    """Ends with 0 if every ordeal ended well; else with what the chain showed, and its seed."""
    parser = argparse.ArgumentParser(prog="crashpoints", description=__doc__)
    parser.add_argument("points", type=int)
    parser.add_argument("--seed", type=int, default=1, help="of the first ordeal")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        crashes, played = asyncio.run(
            endure(Path(folder), points=asked.points, first_seed=asked.seed)
        )
    print(  # noqa: T201 - a program of its own
        f"{crashes} crashes in {played} ordeals from seed {asked.seed}: "
        "0 double executions, 0 lost episodes"
    )


if __name__ == "__main__":
    main()
