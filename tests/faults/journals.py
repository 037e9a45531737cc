"""What can happen to the journal's file."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Nobody else can write to the journal meanwhile."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def kept(journal: Path, at: Path) -> None:
    """Keep what is in the journal now, with its log of writes, in the folder `at`."""
    at.mkdir()
    for file in journal.parent.glob(f"{journal.name}*"):
        shutil.copy2(file, at)


def put_back(journal: Path, kept_at: Path) -> None:
    """Make the journal what it was, as if everything later had never come to the disk."""
    for file in journal.parent.glob(f"{journal.name}*"):
        file.unlink()
    for file in kept_at.iterdir():
        shutil.copy2(file, journal.parent)


NOBODYS = 10**9
"""The id of an intent that does not exist."""


def reserve(journal: Path, chain_id: int, signer: str, nonce: int) -> None:
    """Take a signer's nonce for somebody else."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute(
            "INSERT INTO nonce_slots (chain_id, signer, nonce, intent_id) VALUES (?, ?, ?, ?)",
            (chain_id, signer, nonce, NOBODYS),
        )


def release(journal: Path) -> None:
    """Give it back."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("DELETE FROM nonce_slots WHERE intent_id = ?", (NOBODYS,))
