"""A policy as a document: its rule, and what data it was chosen on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date
from types import MappingProxyType
from typing import Any, Final, Self, get_args

from keeper.policy.rule import Means, Rule

VERSION: Final = 1
OLD_AFTER_DAYS: Final = 730
"""A fit that has not seen the last two years has missed about one crash of those that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The data that a policy was chosen on, and how many others it was chosen from."""

    start: date
    until: date
    configurations: int
    inputs: Mapping[str, str]
    """SHA-256 of every price file, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """`rule` is None for the policy that does nothing; `fitted` None for one that was set by hand."""

    id: str
    about: str
    default: bool
    rule: Rule | None
    fitted: Fitted | None

    def age_warning(self, today: date) -> str | None:
        """What to tell the owner where the data that it was fitted on ends long ago."""
        if self.fitted is None or (today - self.fitted.until).days <= OLD_AFTER_DAYS:
            return None
        days = (today - self.fitted.until).days
        return (
            f"policy {self.id} was fitted on data until {self.fitted.until}, {days} days ago: "
            "fit it anew with `keeper policy fit`, or take one of a later version of keeper"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values; what is as by default is left out of the rule."""
        return {
            "version": VERSION,
            "id": self.id,
            "about": self.about,
            "default": self.default,
            "rule": None if self.rule is None else _rule_to_json(self.rule),
            "fitted": None
            if self.fitted is None
            else {
                "start": self.fitted.start.isoformat(),
                "until": self.fitted.until.isoformat(),
                "configurations": self.fitted.configurations,
                "inputs": dict(self.fitted.inputs),
            },
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """The inverse of `to_json`. Raises `ValueError` that says what is wrong."""
        given = _table(document, "the policy")
        if given.get("version") != VERSION:
            raise ValueError(
                f"it is of version {given.get('version')!r}, this keeper reads version {VERSION}"
            )
        _only(given, {"version", "id", "about", "default", "rule", "fitted"}, "the policy")
        rule, fitted = given["rule"], given["fitted"]
        return cls(
            id=_text(given, "id"),
            about=_text(given, "about"),
            default=_of_type(given, "default", bool),
            rule=None if rule is None else _rule_from_json(_table(rule, "rule")),
            fitted=None if fitted is None else _fitted_from_json(_table(fitted, "fitted")),
        )


_RULE: Final = {f.name: f for f in fields(Rule)}


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    usual = Rule(floor=rule.floor, target=rule.target)
    given: dict[str, Any] = {"floor": rule.floor, "target": rule.target}
    for name in _RULE:
        value = getattr(rule, name)
        if value != getattr(usual, name):
            given[name] = (
                {
                    str(key): list(each) if isinstance(each, tuple) else each
                    for key, each in value.items()
                }
                if isinstance(value, Mapping)
                else value
            )
    return given


def _rule_from_json(given: Mapping[str, Any]) -> Rule:
    unknown, missing = sorted(set(given) - set(_RULE)), sorted({"floor", "target"} - set(given))
    if unknown or missing:
        raise ValueError(
            f"the rule has an unknown key: {', '.join(unknown)}"
            if unknown
            else f"the rule lacks {', '.join(missing)}"
        )
    read: dict[str, Any] = {}
    for name, value in given.items():
        reader: Callable[[Any, str], Any] = _RULE_READ.get(name) or _number
        read[name] = reader(value, name)
    return Rule(**read)


def _fitted_from_json(given: Mapping[str, Any]) -> Fitted:
    _only(given, {"start", "until", "configurations", "inputs"}, "fitted")
    inputs = _table(given["inputs"], "inputs")
    if not all(isinstance(each, str) for each in inputs.values()):
        raise ValueError("inputs must give a SHA-256 for every file")
    return Fitted(
        start=date.fromisoformat(_text(given, "start")),
        until=date.fromisoformat(_text(given, "until")),
        configurations=_of_type(given, "configurations", int),
        inputs=MappingProxyType(dict(inputs)),
    )


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a JSON object, not {value!r}")  # noqa: TRY004 - one kind
    return value


def _only(given: Mapping[str, Any], names: set[str], where: str) -> None:
    missing, unknown = sorted(names - set(given)), sorted(set(given) - names)
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    if unknown:
        raise ValueError(f"{where} has an unknown key: {', '.join(unknown)}")


def _text(given: Mapping[str, Any], name: str) -> str:
    return str(_of_type(given, name, str))


def _of_type(given: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    return _typed(given[name], name, kind)


def _typed(value: Any, name: str, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{name} is {value!r}, {kind.__name__} needed")
    return value


def _number(value: Any, name: str) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{name} is {value!r}, a number needed")
    return float(value)


def _number_or_none(value: Any, name: str) -> float | None:
    return None if value is None else _number(value, name)


def _whole(value: Any, name: str) -> int:
    return int(_typed(value, name, int))


def _flag(value: Any, name: str) -> bool:
    return bool(_typed(value, name, bool))


def _numbers(value: Any, name: str) -> Mapping[str, float]:
    return MappingProxyType({k: _number(v, name) for k, v in _table(value, name).items()})


def _by_seconds(value: Any, name: str) -> Mapping[int, float]:
    return MappingProxyType({int(k): v for k, v in _numbers(value, name).items()})


def _pairs(value: Any, name: str) -> Mapping[str, tuple[float, float]]:
    return MappingProxyType({k: _two(v, name) for k, v in _table(value, name).items()})


def _means(value: Any, name: str) -> Any:
    if value not in get_args(Means):
        raise ValueError(f"{name} is {value!r}, one of {', '.join(get_args(Means))} needed")
    return value


def _two(value: Any, name: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{name} is {value!r}, floor and target needed")
    return _number(value[0], name), _number(value[1], name)


_RULE_READ: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "guard_share": _number_or_none,
    "trigger_probability": _number_or_none,
    "swap_fee_share": _number_or_none,
    "horizon_s": _whole,
    "scaled_to_start": _flag,
    "jump_after_s": _by_seconds,
    "rare_jump_after_s": _by_seconds,
    "pair_share": _numbers,
    "by_pair": _pairs,
    "means": _means,
}
"""How the keys of a rule are read that are not plain numbers."""
