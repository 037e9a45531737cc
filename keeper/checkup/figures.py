"""What the forecast and the policies were drawn from, and whether that is long ago."""

from collections.abc import Iterator, Mapping
from datetime import date

from keeper.checkup.line import Line
from keeper.forecast.calibration import Calibration
from keeper.model.units import SECONDS_PER_DAY
from keeper.policy.policy_file import PolicyFile

OLD_TABLE_DAYS = 365


def table_line(calibration: Calibration, *, now: int) -> Line:
    """`calibration`: what ships, and over it what was fitted on this chain's prices; `now`: the
    chain's clock, Unix seconds."""
    days = (now - calibration.until) // SECONDS_PER_DAY
    if days <= OLD_TABLE_DAYS:
        return Line(topic="table", verdict="ok", what="the forecast's tables are of the last year")
    return Line(
        topic="table",
        verdict="warn",
        what=f"the probabilities are of the table that ships, {days} days old; this chain's own "
        "prices are not fitted yet",
        fix="keeper run fits them within the day; keeper prices fetch gives it more",
    )


def policy_lines(files: Mapping[str, PolicyFile], today: date) -> Iterator[Line]:
    """`files`: those whose figures policies take, by the policy's name."""
    for name, file in files.items():
        if (warning := file.age_warning(today)) is not None:
            fix = "keeper policy fit"
            yield Line(topic=f"policy {name}", verdict="warn", what=warning, fix=fix)
