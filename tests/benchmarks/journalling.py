"""What the journal costs each transaction: intent, attempt, where it stands, and its result."""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from keeper.model.lifecycle import State
from keeper.model.records import MinedReceipt
from keeper.model.units import Wei
from keeper.storage.store import Store
from tests.benchmarks.report import Row, times
from tests.unit.journal_values import ALICE, attempt, decision, intent, observation, result

ROUNDS = 1_000
COMMITS = 4
"""Of one transaction: bytes, broadcast, mined, result."""
NAME = "journal of one transaction"


async def measure() -> tuple[list[Row], str]:
    """The rows of this figure, and what to know of them."""
    ours, floor = [], []
    with TemporaryDirectory(dir=".") as folder:
        store = Store(Path(folder) / "journal.sqlite3")
        try:
            decision_id = store.journal.record_decision(decision())
            store.journal.observe([observation()])
            for nonce in range(ROUNDS):
                ours.append(await _one(store, decision_id, nonce))
                begin = time.perf_counter()
                for each in range(COMMITS):
                    await store.run(store.journal.annotate, ALICE, f"{nonce}.{each}")
                floor.append((time.perf_counter() - begin) * 1e3)
        finally:
            store.close()
    rows = [
        times(
            f"{NAME}, p{percent}",
            float(np.percentile(ours, percent)),
            f"floor: {COMMITS} durable commits of one row",
            float(np.percentile(floor, percent)),
        )
        for percent in (50, 99)
    ]
    return rows, (
        f"Journal: {ROUNDS} transactions of {COMMITS} commits, on this folder's disk; what the journal "
        "costs beyond the disk is the difference of the two."
    )


async def _one(store: Store, decision_id: int, nonce: int) -> float:
    """Milliseconds of every write between the decision and the end of one transaction."""
    journal = store.journal
    episode = journal.open_episode(ALICE, nonce)
    signed = attempt(ALICE, nonce, hash=f"0x{nonce:064x}", raw=bytes(400))
    planned = replace(intent(decision_id, episode, step=nonce), nonce=nonce, attempts=(signed,))
    receipt = MinedReceipt(
        hash=signed.hash,
        block_number=nonce,
        block_hash="0xb",
        succeeded=True,
        gas_used=200_000,
        effective_gas_price_wei=Wei(10**9),
    )
    begin = time.perf_counter()
    await store.run(journal.reserve, [planned], {})
    await store.run(journal.move, {planned.key: State.BROADCAST})
    await store.run(journal.record_mined, [receipt], {planned.key: State.MINED})
    await store.run(journal.record_result, result(decision_id), {planned.key: State.CONFIRMED})
    return (time.perf_counter() - begin) * 1e3
