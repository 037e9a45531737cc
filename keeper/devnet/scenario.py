"""A scenario: what prices, gas and time did in a stretch of history, read from a TOML file.

The file holds facts (a price at a time, with its source) and how to fill the gaps between them;
`keeper.devnet.path` turns it into one price per block.
"""

import tomllib
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from keeper.model.errors import ConfigurationError, Problem
from keeper.resources import resource

HISTORY_S = 31 * 24 * 3600
"""The least past a feed is born with: what a volatility estimate of a new keeper can rest on."""


class ScenarioError(Exception):
    """A scenario file that cannot be used; the message names the file, each key and the reason."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"scenario {path}:\n" + "\n".join(f"  {line}" for line in problems))
        self.path = path
        self.problems = problems


def _unix_seconds(value: object) -> int:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("must be a time with its zone, such as 2020-03-12T00:00:00Z")
    if value.microsecond:
        raise ValueError("must be a full second")
    return int(value.timestamp())


UnixSeconds = Annotated[int, BeforeValidator(_unix_seconds)]
Symbol = Annotated[str, StringConstraints(pattern="^(WETH|WBTC)$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


def _in_time_order(points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    for (earlier, _), (later, _) in pairwise(points):
        if later <= earlier:
            raise ValueError(
                f"times must rise: {datetime.fromtimestamp(later, UTC):%Y-%m-%dT%H:%M:%SZ} does not"
            )
    return points


InTimeOrder = (Field(min_length=1), AfterValidator(_in_time_order))
Knots = Annotated[tuple[tuple[UnixSeconds, PositiveFloat], ...], *InTimeOrder]
"""Values at times; between two knots the value is interpolated."""
Steps = Annotated[tuple[tuple[UnixSeconds, PositiveFloat], ...], *InTimeOrder]
"""Values that each hold from a time on."""
WholeSteps = Annotated[tuple[tuple[UnixSeconds, PositiveInt], ...], *InTimeOrder]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GasPath(_Part):
    """The gas price in gwei; held constant before the first and after the last knot."""

    source: Text
    knots: Knots


class AssetPath(_Part):
    """An asset's price in USD, and the volatility of the noise between its knots."""

    source: Text
    volatility_per_year: Steps
    knots: Knots


class Scenario(_Part):
    """A stretch of history to live through again. Times are Unix seconds."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: Text
    start: UnixSeconds
    end: UnixSeconds
    seed: Annotated[int, Field(ge=0)]
    calm: bool = False
    """Whether nobody is in danger: nobody should be liquidated then, and nothing be sent."""
    block_seconds: WholeSteps
    wall_seconds: PositiveFloat
    gas: GasPath
    assets: dict[Symbol, AssetPath]
    """WETH always; without WBTC its pools and feed stand still."""

    @model_validator(mode="after")
    def _covers_its_time(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end: must be later than start")
        if self.block_seconds[0][0] > self.start:
            raise ValueError("block_seconds: the first time must not be later than start")
        if "WETH" not in self.assets:
            raise ValueError("assets.WETH: is missing, and it is what the positions hold")
        for symbol, asset in self.assets.items():
            first, last = asset.knots[0][0], asset.knots[-1][0]
            if first > self.start - HISTORY_S:
                raise ValueError(
                    f"assets.{symbol}.knots: the first must lie at least "
                    f"{HISTORY_S // 86_400} days before start, for the feed's past"
                )
            if last < self.end:
                raise ValueError(f"assets.{symbol}.knots: the last must not lie before end")
            if asset.volatility_per_year[0][0] > first:
                raise ValueError(
                    f"assets.{symbol}.volatility_per_year: the first time must not be later "
                    "than the first knot"
                )
        return self


def read_scenario(path: Path) -> Scenario:
    """Read and check a scenario file; raises `ScenarioError` with every problem found."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(path, [f"cannot be read: {error.strerror}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(path, [f"is not TOML: {error}"]) from error
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        problems = [
            ".".join(map(str, one["loc"])) + (": " if one["loc"] else "") + _reason(one["msg"])
            for one in error.errors()
        ]
        raise ScenarioError(path, problems) from error


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")


class UnknownScenarioError(ConfigurationError):
    """No packaged scenario has this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            Problem(
                where=f"scenario {name!r}",
                what="there is none of that name",
                why="it tells what prices, gas and time do on the local chain",
                fix=f"choose one of: {', '.join(known)}",
            )
        )
        self.known = known


def packaged_scenario(name: str) -> Scenario:
    """The scenario of this name that ships with keeper; raises `UnknownScenarioError`."""
    known = packaged_names()
    if name not in known:
        raise UnknownScenarioError(name, known)
    return read_scenario(resource("config", "scenarios") / f"{name}.toml")


def packaged_names() -> list[str]:
    """The scenarios that ship with keeper, by name."""
    return sorted(path.stem for path in resource("config", "scenarios").glob("*.toml"))
