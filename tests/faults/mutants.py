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
from dataclasses import dataclass
from pathlib import Path

from tests.faults.report import PASSED

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", "build", "dist", "node_modules", "__pycache__", "docs"
)
NODE_MODULES = Path("keeper/devnet/node_modules")
WITHIN_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A defect: `old` is in `file` once and becomes `new`; one of `lines` must turn red."""

    name: str
    file: str
    old: str
    new: str
    lines: tuple[str, ...]


MANAGER = "keeper/chain/transactions/manager.py"
BREAKERS = "keeper/chain/breakers.py"
MUTANTS = (
    Mutant(
        name="no-durable-intent",
        file=MANAGER,
        old="""        await self._run(
            self._journal.reserve,
            signed,
            {nonce: victim.key for nonce, victim in allotted.taken_from.items()},
        )
""",
        new="",
        lines=("kill-9-after-send", "kill-9-between-two-sends"),
    ),
    Mutant(
        name="no-status-check",
        file="keeper/chain/transactions/witness.py",
        old='succeeded=int(answer["status"], 16) == 1',
        new="succeeded=True",
        lines=("simulated-fine-reverts-on-chain", "approval-revoked"),
    ),
    Mutant(
        name="unique-nonce-dropped",
        file="keeper/storage/migrations/versions/0001_journal_and_price_history.py",
        old="""        sa.UniqueConstraint("chain_id", "signer", "nonce", name="one_intent_per_nonce"),\n""",
        new="",
        lines=("nonce-taken-in-the-journal",),
    ),
    Mutant(
        name="reads-at-latest",
        file="keeper/chain/reader.py",
        old='{"blockHash": at}',
        new='"latest"',
        lines=("block-arrives-during-the-read",),
    ),
    Mutant(
        name="nonce-from-pending",
        file="keeper/chain/prepare.py",
        old="""            Request(method=method, params=(proposal.signer, {"blockHash": head.hash}))""",
        new="""            Request(method=method, params=(proposal.signer, "pending"))""",
        lines=("database-last-commit-lost-in-the-mempool",),
    ),
    Mutant(
        name="web3-posts-again",
        file="keeper/chain/rpc.py",
        old="            exception_retry_configuration=None,\n",
        new="",
        lines=("rpc-accepts-then-drops",),
    ),
    Mutant(
        name="no-replacement",
        file="keeper/chain/transactions/remedies.py",
        old="REPLACE_AFTER_BLOCKS = 2\n",
        new="REPLACE_AFTER_BLOCKS = 2_000\n",
        lines=("stuck-transaction",),
    ),
    Mutant(
        name="refused-price-not-raised",
        file=MANAGER,
        old="            self._underpriced.add(intent.key)\n",
        new="            pass\n",
        lines=("error-text-geth-replacement-transaction-underpriced",),
    ),
    Mutant(
        name="lost-bytes-not-sent-again",
        file=MANAGER,
        old="                            resent.append(intent)\n",
        new="                            pass\n",
        lines=("mempool-emptied",),
    ),
    Mutant(
        name="step-sent-without-the-one-before",
        file=MANAGER,
        old="                        if not self._lacks_a_step(intent):\n",
        new="                        if True:\n",
        lines=("nonce-used-from-outside-before-the-send",),
    ),
    Mutant(
        name="deadline-ignored",
        file=MANAGER,
        old="            if head.number > intent.deadline_block\n",
        new="            if False\n",
        lines=("deadline-passed-before-the-send",),
    ),
    Mutant(
        name="recovery-of-the-healthy",
        file=MANAGER,
        old="            or ((stake := stakes(intent.position)) is not None and stake.healthy)\n",
        new="",
        lines=("cancel-that-wins",),
    ),
    Mutant(
        name="depth-ignored",
        file=MANAGER,
        old="            if _depth(receipt, head) < self._confirmations:\n",
        new="            if False:\n",
        lines=("confirmations-not-reached",),
    ),
    Mutant(
        name="kill-file-not-checked",
        file=BREAKERS,
        old="        return killed(limits.kill_file)\n",
        new="        return None\n",
        lines=("kill-file-before-the-signature",),
    ),
    Mutant(
        name="breaker-refilled-at-restart",
        file=BREAKERS,
        old="        now, limits = self._now(), self._settings\n",
        new="""        now, limits = self._now(), self._settings
        self._begun = getattr(self, "_begun", now)
        if self._begun == now:
            return None
""",
        lines=("signer-rate-limit",),
    ),
    Mutant(
        name="minority-believed",
        file="keeper/policy/agreement.py",
        old="    if contradict == 0:\n",
        new="    if True:\n",
        lines=("byzantine-price", "disagreement-without-majority"),
    ),
    Mutant(
        name="receipt-of-one-believed",
        file=MANAGER,
        old=" or not await self._vouched_for(known, intents):\n",
        new=":\n",
        lines=("byzantine-receipt-of-failure", "byzantine-receipt-of-success"),
    ),
    Mutant(
        name="signer-not-owned",
        file="keeper/storage/ownership.py",
        old="                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        new="                pass\n",
        lines=("two-daemons-one-signer",),
    ),
    Mutant(
        name="another-chain-asked",
        file="keeper/chain/pool.py",
        old="        if found != self._chain_id:\n",
        new="        if False:\n",
        lines=("wrong-chain-id-after-fail-over",),
    ),
    Mutant(
        name="recursion-unlimited",
        file="keeper/app.py",
        old="    sys.setrecursionlimit(RECURSION_LIMIT)\n",
        new="",
        lines=("json-nested",),
    ),
    Mutant(
        name="poll-never-believed",
        file="keeper/chain/heads.py",
        old="                self._believe(",
        new="                _ = (",
        lines=("websocket-half-open",),
    ),
)


class MisplacedError(Exception):
    """The code has changed: the defect cannot be planted where it was."""


def planted(mutant: Mutant, copy: Path) -> None:
    """Change the copy. Raises `MisplacedError`."""
    path = copy / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise MisplacedError(
            f"{mutant.name}: {mutant.file} has {text.count(mutant.old)} times {mutant.old!r}"
        )
    path.write_text(text.replace(mutant.old, mutant.new))


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


def say(line: str) -> None:
    """One line on standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Plant one defect after the other; 0 if every one was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="mutants to plant; all by default")
    wanted = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="keeper-mutants-") as folder:
        sound = copied(Path(folder) / "sound")
        names = sorted({name for mutant in chosen for name in mutant.lines})
        if red := red_lines(sound, names):
            say(f"red without any defect: {', '.join(red)}")
            return 1
        say(f"{len(names)} lines pass without a defect")
        for mutant in chosen:
            copy = copied(Path(folder) / mutant.name)
            planted(mutant, copy)
            red = red_lines(copy, mutant.lines)
            unnoticed += not red
            say(f"{'caught' if red else 'MISSED':6} {mutant.name:40} {', '.join(red)}")
            shutil.rmtree(copy)
    say(f"{len(chosen)} planted, {len(chosen) - unnoticed} caught, {unnoticed} missed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
