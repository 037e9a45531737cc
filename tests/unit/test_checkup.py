"""The doctor's lines about what the figures were drawn from."""

from dataclasses import replace
from datetime import date, timedelta

from keeper.backtest.shipped import shipped
from keeper.checkup.figures import OLD_TABLE_DAYS, policy_lines, table_line
from keeper.model.units import SECONDS_PER_DAY
from tests.unit.test_rule import POLICY


def test_table__that_ships_a_year_on__is_warned_of_until_prices_are_fitted() -> None:
    old = shipped()
    year = old.until + OLD_TABLE_DAYS * SECONDS_PER_DAY
    assert table_line(old, now=year).verdict == "ok"
    late = year + SECONDS_PER_DAY
    line = table_line(old, now=late)
    assert line.verdict == "warn"
    assert "the table that ships, 366 days old" in line.what
    assert "keeper prices fetch" in line.fix
    fitted = replace(old, spans={**old.spans, "ETH/USD": (late - 3600, late)})
    assert table_line(fitted, now=late).verdict == "ok"


def test_policy__fitted_long_ago__is_warned_of_by_the_name_that_it_has_here() -> None:
    assert POLICY.fitted is not None
    long_ago = POLICY.fitted.until + timedelta(days=1_000)
    files = {"careful": POLICY, "by hand": replace(POLICY, fitted=None)}
    (line,) = policy_lines(files, long_ago)
    assert (line.topic, line.verdict, line.fix) == ("policy careful", "warn", "keeper policy fit")
    assert "fitted on data until 2021-12-31, 1000 days ago" in line.what
    assert not list(policy_lines(files, date(2022, 6, 1)))
