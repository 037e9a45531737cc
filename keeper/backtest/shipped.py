"""The calibration that ships with keeper, and writing another."""

import json
import re
from pathlib import Path

from keeper.forecast.calibration import Calibration
from keeper.model.errors import ConfigurationError, Problem
from keeper.resources import resource


def shipped(path: Path | None = None) -> Calibration:
    """The packaged calibration, or another file's.

    Raises `ConfigurationError` for a file that this version cannot use."""
    path = path or resource("config", "forecast", "calibration.json")
    try:
        return load(path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            Problem(
                where=str(path),
                what=f"it cannot be used as the calibration ({error})",
                why="a breach probability from it would not mean what it says",
                fix="install keeper anew, or make it with `keeper forecast fit`",
            )
        ) from None


def load(path: Path) -> Calibration:
    """Raises `ValueError` for one that this version cannot use."""
    return Calibration.from_json(json.loads(path.read_text(encoding="utf-8")))


def save(calibration: Calibration, path: Path) -> None:
    """Write it as JSON, a line per table row."""
    text = json.dumps(calibration.to_json(), indent=1, allow_nan=False)
    path.write_text(_rows_on_one_line(text) + "\n", encoding="utf-8")


def _rows_on_one_line(text: str) -> str:
    return re.sub(r"\[[^\[\]]*\]", lambda match: " ".join(match[0].split()), text)
