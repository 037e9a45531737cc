"""The folder of a rehearsal: what a keeper wrote down there outlives the chain."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_with_journal(prefix: str) -> Iterator[Path]:
    """A new folder; at the end it stays, and is named, if a keeper left a journal in it."""
    from keeper.devnet.files import JOURNAL

    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        if (folder / JOURNAL).exists():
            print(f"keeper: the files of this run are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
