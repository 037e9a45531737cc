"""Every episode and everything that happened in it as CSV, so that anyone can recompute the table."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from keeper.backtest.ledger import COSTS, KINDS
from keeper.backtest.positions import Positions
from keeper.backtest.replay import Replayed
from keeper.backtest.tally import worth_protecting

COLUMNS = (
    "policy", "episode", "pair", "kind", "time", "price", "amount", "collateral", "quote_usd",
    *COSTS, "cost_usd", "health_before", "health_after", "worth_protecting",
)  # fmt: skip


def write(path: Path, positions: Positions, replayed: Replayed) -> None:
    """The columns `COLUMNS`; gzipped if the name ends in `.gz`.

    A row of kind `start` per policy and episode: `amount` is the debt, `collateral` its worth at the
    oracle's `price`, both in units of the quote, of which one is `quote_usd` dollars. Then a row per
    action or liquidation, oldest first: the debt repaid and the collateral sold.
    """
    text = "\n".join((",".join(COLUMNS), *_lines(positions, replayed))) + "\n"
    whole = text.encode()
    path.write_bytes(gzip.compress(whole, compresslevel=1) if path.suffix == ".gz" else whole)


def _lines(positions: Positions, replayed: Replayed) -> Iterator[str]:
    pairs = positions.pairs
    worth = [f"{flag:d}" for flag in worth_protecting(positions).tolist()]
    quote_usd = [f"{value:.10g}" for value in positions.quote_usd.tolist()]
    for policy in replayed.policies:
        for n, (start, price) in enumerate(
            zip(positions.starts.tolist(), _start_prices(positions), strict=True)
        ):
            numbers = (positions.debt[n], positions.collateral[n] * price)
            told = ",".join(f"{value:.10g}" for value in numbers)
            costs = "," * len(COSTS)
            health = f"{positions.health_start[n]:.10g}"
            yield (
                f"{policy},{n},{pairs[n]},start,{start:.0f},{price:.10g},{told},{quote_usd[n]}"
                f"{costs},0,{health},{health},{worth[n]}"
            )
    events = replayed.events
    columns = (
        events.time, events.price, events.repaid, events.sold,
        *(getattr(events, name) for name in COSTS), events.cost_usd,
        events.health_before, events.health_after,
    )  # fmt: skip
    for policy_at, n, kind, time, price, *rest in zip(
        events.policy.tolist(),
        events.position.tolist(),
        events.kind.tolist(),
        *(column.tolist() for column in columns),
        strict=True,
    ):
        amounts = ",".join(f"{value:.10g}" for value in rest[:2])
        costs = ",".join(f"{value:.10g}" for value in rest[2:])
        yield (
            f"{replayed.policies[policy_at]},{n},{pairs[n]},{KINDS[kind]},{time:.0f},{price:.10g},"
            f"{amounts},{quote_usd[n]},{costs},{worth[n]}"
        )


def _start_prices(positions: Positions) -> list[float]:
    return [
        float(positions.tracks[track].oracle[first])
        for track, first in zip(positions.track.tolist(), positions.first.tolist(), strict=True)
    ]
