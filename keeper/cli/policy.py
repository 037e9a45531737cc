"""`keeper policy`: the policies that ship, and one fitted on other prices."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keeper.cli.backtest import PricesOption, known_prices, progress_bar
from keeper.cli.output import JsonOption, print_json, show_lines
from keeper.cli.scoring import check_can_be_written
from keeper.model.errors import ConfigurationError, Problem

if TYPE_CHECKING:  # numerical libraries take their second when the command runs, not in its help
    from keeper.backtest.positions import Known
    from keeper.policy.policy_file import PolicyFile

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Show the policies that ship, or fit one on past prices.",
)
_DATE = {"formats": ["%Y-%m-%d"], "show_default": False}
LEAST_DAYS = 365


@app.callback()
def policy() -> None:
    """Show the policies that ship, or fit one on past prices."""


@app.command("list")
def show(as_json: JsonOption = False) -> None:
    """List the policies that ship, with their numbers."""
    from keeper.backtest.policies import roster

    if as_json:
        print_json({"policies": [each.to_json() for each in roster()]})
        return
    policies = roster()
    show_lines(
        [_described(each) for each in policies],
        left=("id", "guard", "fitted until", "what it does"),
        bold=[number for number, each in enumerate(policies) if each.default],
        prose="what it does",
    )


def _described(policy: PolicyFile) -> dict[str, str]:
    rule, guard = policy.rule, ""
    if rule is not None and rule.guard_share is not None:
        guard = f"{rule.guard_share:g}"
        if rule.guard_steepness:
            guard += f" / health^{rule.guard_steepness:g}"
    return {
        "id": policy.id,
        "floor": "" if rule is None else f"{rule.floor:.2f}",
        "target": "" if rule is None else f"{rule.target:.2f}",
        "guard": guard,
        "fitted until": "" if policy.fitted is None else policy.fitted.until.isoformat(),
        "what it does": policy.about,
    }


@app.command()
def fit(
    prices: PricesOption,
    out: Annotated[Path, typer.Option(help="The JSON file to write.", show_default=False)],
    until: Annotated[
        datetime | None, typer.Option(help="Use the prices up to this day; else all.", **_DATE)
    ] = None,
    start: Annotated[
        datetime,
        typer.Option("--from", help="Use the prices from this day on.", formats=["%Y-%m-%d"]),
    ] = datetime(2018, 1, 1),  # noqa: DTZ001 - typer's own; it is read as UTC below
    seed: Annotated[int, typer.Option(help="Of all that is drawn.", min=0)] = 1,
    tuned: Annotated[
        Path | None,
        typer.Option(
            help="Write the plain rules tuned on the same past, for all pairs and for each, into "
            "this folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Choose a policy's numbers on the cost and its tail over past, resampled and stressed prices.

    Where no candidate is better than the incumbent on all of them, the incumbent is written.
    """
    from keeper.backtest import fitting
    from keeper.backtest.policies import save
    from keeper.backtest.terms import PAIRS
    from keeper.policy.policy_file import Fitted, PolicyFile

    check_can_be_written("--out", out)
    if tuned is not None:
        check_can_be_written("--tuned", tuned / "fixed_tuned.json")
    known = known_prices(prices, PAIRS, strict=False)
    begin, end = _span(known, start, until)
    where = fitting.ground(known, start=begin, until=end, seed=seed)
    steps = 8_641 * (
        where.episodes * (len(list(fitting.candidates(where))) + 1)
        + (0 if tuned is None else len(where.sets["history"]) * 24)
    )
    with progress_bar(steps) as told:
        choice = fitting.choose(where, seed=seed, told=told)
        plain = None if tuned is None else fitting.tuned(where, seed=seed, told=told)

    def fitted(configurations: int) -> Fitted:
        return Fitted(
            start=_day(begin),
            until=_day(end - 1.0),
            configurations=configurations,
            inputs={f.name: f.sha256() for of in known.values() for t in of for f in t.files},
        )

    for name, score in choice.scores.items():
        print(
            f"{name}: mean {score.mean - 1:+.1%}, CVaR99 {score.cvar99 - 1:+.1%}, economic "
            f"liquidations {score.economic:+.2%} against the incumbent"
        )
    rule = choice.rule
    print(
        ("nothing is better: the incumbent stays, " if choice.stays else "")
        + f"floor {rule.floor:g}, target {rule.target:g}, guard {rule.guard_share:g} / "
        f"health^{rule.guard_steepness:g}, of {choice.candidates} configurations"
    )
    save(
        PolicyFile(
            id=out.stem,
            about="Fitted on past, resampled and stressed prices.",
            default=False,
            rule=rule,
            fitted=fitted(choice.candidates),
        ),
        out,
    )
    if tuned is not None and plain is not None:
        for name, about, own in (
            ("fixed_tuned", "A plain rule tuned on the past, the same for all pairs.", plain[0]),
            ("fixed_tuned_by_pair", "A plain rule tuned on each pair's past.", plain[1]),
        ):
            made = PolicyFile(
                id=name, about=about, default=False, rule=own, fitted=fitted(plain[2])
            )
            save(made, tuned / f"{name}.json")


def _span(known: Known, start: datetime, until: datetime | None) -> tuple[float, float]:
    every = [track for of in known.values() for track in of]
    first, last = min(t.start for t in every), max(t.end for t in every)
    end = float(last)
    if until is not None:
        end = (until.replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
    begin = max(start.replace(tzinfo=UTC).timestamp(), float(first))
    if end - 86_400 > last or end - begin < LEAST_DAYS * 86_400:
        raise ConfigurationError(
            Problem(
                where="--until",
                what=f"there are not {LEAST_DAYS} days of prices between {_day(begin)} and "
                f"{_day(end - 1.0)}: they end on {_day(last)}",
                why="a policy is chosen on crashes, and those are rare",
                fix="give longer histories, or another day",
            )
        )
    return begin, min(end, float(last))


def _day(moment: float) -> date:
    return datetime.fromtimestamp(moment, UTC).date()
