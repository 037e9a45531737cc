"""An alert is acknowledged by a file beside the kill file, which the running keeper takes away."""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger()

MOST_BYTES = 64 * 1024
"""A file beyond that was not written by `keeper notify ack`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Of all that stands, of all of one name, or of one alert."""

    name: str = ""
    subject: str = ""


def acknowledgement_file(kill_file: Path) -> Path:
    """Beside the kill file, where both the keeper and its owner may write."""
    return kill_file.with_suffix(".ack")


def acknowledge(path: Path, given: Acknowledgement) -> None:
    """Add one. Raises `OSError`."""
    line = json.dumps({"name": given.name, "subject": given.subject}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w") as file:
        file.write(line)


class Acknowledgements:
    """What was given and not taken yet."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> tuple[Acknowledgement, ...]:
        """Each once: the file is gone afterwards, which tells who gave them."""
        taken = self._path.with_name(f"{self._path.name}.taken")
        try:
            self._path.rename(taken)
        except FileNotFoundError:
            return ()
        except OSError as error:
            log.warning("acknowledgement.unreadable", path=str(self._path), reason=error.strerror)
            return ()
        found = []
        try:
            with taken.open(encoding="utf-8") as file:
                text = file.read(MOST_BYTES)
            for line in text.splitlines():
                given = json.loads(line)
                found.append(
                    Acknowledgement(name=str(given["name"]), subject=str(given["subject"]))
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("acknowledgement.unreadable", path=str(self._path), reason=str(error))
        with contextlib.suppress(OSError):
            taken.unlink()
        return tuple(found)
