"""Every scored episode as CSV, so that anyone can recompute outcomes and scores."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from keeper.backtest.score import Answers


def write(path: Path, given: Iterable[Answers]) -> None:
    """One row per episode: pair, origin (Unix seconds), horizon_s, health, one probability per model
    and last whether the breach happened; gzipped if the name ends in `.gz`."""
    if path.suffix == ".gz":
        with gzip.open(path, "wt", compresslevel=1, encoding="utf-8", newline="") as file:
            _write(file, given)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            _write(file, given)


def _write(file: TextIO, given: Iterable[Answers]) -> None:
    for n, part in enumerate(given):
        if n == 0:
            names = ",".join(part.probabilities)
            file.write(f"pair,origin,horizon_s,health,{names},happened\n")
        columns = [part.probabilities[name].tolist() for name in part.probabilities]
        row = "{:s},{:.0f},{:d},{:g}," + "{:.6g}," * len(columns) + "{:.0f}\n"
        file.writelines(
            row.format(part.pair, origin, part.horizon_s, part.health, *values, happened)
            for origin, happened, *values in zip(
                part.origins.tolist(), part.happened.tolist(), *columns, strict=True
            )
        )
