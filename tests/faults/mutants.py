"""The suite proves itself: planted defects, each of which must turn a line red.

`python -m tests.faults.mutants` copies the checkout, changes one place in the copy, plays the lines
that should notice, and prints which one did. A defect that no line notices, or one whose place is
not found exactly once, ends it with 1. The lines are played unchanged at first and must pass.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.faults.report import PASSED
from tests.planting import Defect, chosen, plant, report, say

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", "build", "dist", "node_modules", "__pycache__", "docs"
)
NODE_MODULES = Path("keeper/devnet/node_modules")
WITHIN_S = 300


MANAGER = "keeper/chain/transactions/manager.py"
VERDICTS = "keeper/chain/transactions/verdicts.py"
MENDING = "keeper/chain/transactions/mending.py"
OUTBOX = "keeper/chain/transactions/outbox.py"
BREAKERS = "keeper/chain/breakers.py"
MUTANTS = (
    Defect(
        name="no-durable-intent",
        file=MANAGER,
        old="""        await self._run(
            self._journal.reserve,
            signed,
            {nonce: victim.key for nonce, victim in allotted.taken_from.items()},
        )
""",
        new="",
        tests=("kill-9-after-send", "kill-9-between-two-sends"),
    ),
    Defect(
        name="no-status-check",
        file="keeper/chain/transactions/witness.py",
        old="succeeded=status == 1",
        new="succeeded=True",
        tests=("simulated-fine-reverts-on-chain", "approval-revoked"),
    ),
    Defect(
        name="unique-nonce-dropped",
        file="keeper/storage/migrations/versions/0001_journal_and_price_history.py",
        old="""        sa.UniqueConstraint("chain_id", "signer", "nonce", name="one_intent_per_nonce"),\n""",
        new="",
        tests=("nonce-taken-in-the-journal",),
    ),
    Defect(
        name="reads-at-latest",
        file="keeper/chain/reader.py",
        old='{"blockHash": at}',
        new='"latest"',
        tests=("block-arrives-during-the-read",),
    ),
    Defect(
        name="nonce-from-pending",
        file="keeper/chain/account.py",
        old="""getTransactionCount", params=(signer, {"blockHash": head.hash}))""",
        new="""getTransactionCount", params=(signer, "pending"))""",
        tests=("database-last-commit-lost-in-the-mempool",),
    ),
    Defect(
        name="web3-posts-again",
        file="keeper/chain/rpc.py",
        old="            exception_retry_configuration=None,\n",
        new="",
        tests=("rpc-accepts-then-drops",),
    ),
    Defect(
        name="no-replacement",
        file="keeper/chain/transactions/remedies.py",
        old="REPLACE_AFTER_BLOCKS = 2\n",
        new="REPLACE_AFTER_BLOCKS = 2_000\n",
        tests=("stuck-transaction",),
    ),
    Defect(
        name="refused-price-not-raised",
        file=OUTBOX,
        old="            self._book.underpriced.add(intent.key)\n",
        new="            pass\n",
        tests=("error-text-geth-replacement-transaction-underpriced",),
    ),
    Defect(
        name="lost-bytes-not-sent-again",
        file=MENDING,
        old="                    case Resend():\n                        to_send.add(intent.key)\n",
        new="                    case Resend():\n                        pass\n",
        tests=("mempool-emptied",),
    ),
    Defect(
        name="step-sent-without-the-one-before",
        file=MENDING,
        old="                    case Resend() | Replace() if self._lacks_a_step(intent):\n",
        new="                    case Resend() | Replace() if False:\n",
        tests=("nonce-used-from-outside-before-the-send",),
    ),
    Defect(
        name="deadline-ignored",
        file=MENDING,
        old="            if head.number > intent.deadline_block\n",
        new="            if False\n",
        tests=("deadline-passed-before-the-send",),
    ),
    Defect(
        name="recovery-of-the-healthy",
        file=MENDING,
        old="            or ((stake := stakes(intent.position)) is not None and stake.healthy)\n",
        new="",
        tests=("cancel-that-wins",),
    ),
    Defect(
        name="depth-ignored",
        file=VERDICTS,
        old="_depth(mined[1], head) >= self._confirmations else None\n",
        new="True else None\n",
        tests=("confirmations-not-reached",),
    ),
    Defect(
        name="kill-file-not-checked",
        file=BREAKERS,
        old="        return killed(limits.kill_file)\n",
        new="        return None\n",
        tests=("kill-file-before-the-signature",),
    ),
    Defect(
        name="breaker-refilled-at-restart",
        file=BREAKERS,
        old="        now, limits = self._now(), self._settings\n",
        new="""        now, limits = self._now(), self._settings
        self._begun = getattr(self, "_begun", now)
        if self._begun == now:
            return None
""",
        tests=("signer-rate-limit",),
    ),
    Defect(
        name="minority-believed",
        file="keeper/policy/agreement.py",
        old="    if contradict == 0:\n",
        new="    if True:\n",
        tests=("byzantine-price", "disagreement-without-majority"),
    ),
    Defect(
        name="nonce-of-one-believed",
        file="keeper/engine/witness.py",
        old="    if theirs is None or ours is None or theirs == ours:\n",
        new="    if True:\n",
        tests=("byzantine-nonce",),
    ),
    Defect(
        name="receipt-of-one-believed",
        file=VERDICTS,
        old="        vote = await self._votes.on(receipt, reader)\n",
        new="        vote = Vote.FOR\n",
        tests=("byzantine-receipt-of-failure", "byzantine-receipt-of-success"),
    ),
    Defect(
        name="signer-not-owned",
        file="keeper/storage/ownership.py",
        old="                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        new="                pass\n",
        tests=("two-daemons-one-signer",),
    ),
    Defect(
        name="another-chain-asked",
        file="keeper/chain/pool.py",
        old="        if found != self._chain_id:\n",
        new="        if False:\n",
        tests=("wrong-chain-id-after-fail-over",),
    ),
    Defect(
        name="receipts-taken-for-state",
        file="keeper/chain/pool.py",
        old="    for group in (of_state or list(answers), calls):\n",
        new="    for group in (list(answers),):\n",
        tests=("pruned-state-of-the-first-of-two",),
    ),
    Defect(
        name="time-of-one-believed",
        file="keeper/engine/witness.py",
        old='"parent_hash", "timestamp", "base_fee_wei")',
        new='"parent_hash", "base_fee_wei")',
        tests=("byzantine-head-time",),
    ),
    Defect(
        name="recursion-unlimited",
        file="keeper/app.py",
        old="    sys.setrecursionlimit(RECURSION_LIMIT)\n",
        new="",
        tests=("json-nested",),
    ),
    Defect(
        name="taken-back-by-a-laggard",
        file="keeper/chain/heads.py",
        old="if unseen or (alone and absurd):",
        new="if unseen or absurd:",
        tests=("leader-dies-the-other-100-blocks-behind",),
    ),
    Defect(
        name="any-tip-paid",
        file="keeper/chain/fees.py",
        old="    tip = min(median, most_tip)\n",
        new="    tip = median\n",
        tests=("byzantine-fee-history",),
    ),
    Defect(
        name="poll-never-believed",
        file="keeper/chain/heads.py",
        old="                self._take(",
        new="                _ = (",
        tests=("websocket-half-open",),
    ),
)


def copied(to: Path) -> Path:
    """A copy of the checkout that pytest can run in."""
    shutil.copytree(ROOT, to, ignore=LEFT_OUT)
    (to / NODE_MODULES).symlink_to(ROOT / NODE_MODULES)
    return to


def red_lines(copy: Path, names: Sequence[str]) -> list[str]:
    """The lines that are red in a copy. Raises `RuntimeError` if they could not be played."""
    report = copy / "faults.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "tests/faults/test_faults.py", "--tb", "no"]
    command += ["-p", "no:cacheprovider", "--faults", ",".join(names), "--faults-json", str(report)]
    # The copy's package is found first: it lies in the working directory.
    played = subprocess.run(
        command,
        cwd=copy,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"the lines were not played:\n{played.stdout}\n{played.stderr}")
    rows = json.loads(report.read_text())
    return [row["name"] for row in rows if row["verdict"] != PASSED]


def main() -> int:
    """Plant one defect after the other; 0 if every one was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="defects to plant; all by default")
    wanted = chosen(MUTANTS, parser.parse_args().names)
    with tempfile.TemporaryDirectory(prefix="keeper-mutants-") as folder:
        sound = copied(Path(folder) / "sound")
        names = sorted({name for defect in wanted for name in defect.tests})
        if red := red_lines(sound, names):
            say(f"red without any defect: {', '.join(red)}")
            return 1
        say(f"{len(names)} lines pass without a defect")

        def red_with(defect: Defect) -> list[str]:
            copy = copied(Path(folder) / defect.name)
            plant(defect, copy)
            red = red_lines(copy, defect.tests)
            shutil.rmtree(copy)
            return red

        return report(wanted, red_with)


if __name__ == "__main__":
    sys.exit(main())
