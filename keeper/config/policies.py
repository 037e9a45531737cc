"""What a policy of the configuration comes to: a preset's or a file's figures, and the owner's over
them."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from pathlib import Path

from keeper.backtest.policies import load, shipped_default
from keeper.config import problems
from keeper.config.contradictions import NEVER_ALLOWED, NOT_ABOVE_FLOOR
from keeper.config.document import Document
from keeper.config.schema import PolicyTable
from keeper.config.written import WrongValueError
from keeper.model.errors import ConfigurationError
from keeper.model.units import BPS
from keeper.policy.policy_file import PolicyFile
from keeper.policy.rule import Rule
from keeper.policy.settings import GUARD_SHARE, Policy
from keeper.policy.tailoring import health_of
from keeper.resources import resource

DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """`rule`: None where the owner wrote floor or target, which are meant as they stand."""

    policy: Policy
    rule: Rule | None = None
    file: PolicyFile | None = None


def resolved(document: Document, name: str, table: PolicyTable, folder: Path) -> Resolved:
    """Raises `ConfigurationError` for a file that cannot be used, and for figures of both that
    contradict each other."""
    if table.floor is not None and table.target is not None and not (table.preset or table.file):
        return Resolved(policy=_policy(name, table, None))
    file = _file(table, folder)
    rule = file.rule
    if rule is None or _is_anothers(rule):
        raise ConfigurationError(
            problems.problem(
                document,
                ("policies", name, "file"),
                WrongValueError(
                    f"{file.id} is there to be compared with, not to be acted by",
                    "it does nothing, or pays another service's fees",
                    "name another file, or a preset",
                ),
            )
        )
    policy = _policy(name, table, rule)
    for wrong, key in ((NOT_ABOVE_FLOOR, "target"), (NEVER_ALLOWED, "max_health_to_act")):
        floor_over = policy.target if key == "target" else policy.max_health_to_act
        if floor_over < policy.floor or (key == "target" and floor_over == policy.floor):
            raise ConfigurationError(problems.problem(document, ("policies", name, key), wrong))
    own = table.floor is not None or table.target is not None
    rule = replace(
        rule,
        trigger_probability=policy.trigger_probability,
        horizon_s=policy.horizon_s,
        guard_share=None if policy.guard_share == inf else policy.guard_share,
    )
    return Resolved(policy=policy, rule=None if own else rule, file=file)


def _is_anothers(rule: Rule) -> bool:
    """Whether it has what only a rival's rule has: the daemon knows its own means and the pools' fees."""
    return (
        rule.means != "reserve first"
        or rule.swap_fee_share is not None
        or rule.service_fee_share > 0.0
        or rule.least_debt_usd > 0.0
    )


def _file(table: PolicyTable, folder: Path) -> PolicyFile:
    if table.file is not None:
        return load(folder / table.file)
    if table.preset is None:
        return shipped_default()
    return load(resource("config", "policies") / f"{table.preset}.json")


def _policy(name: str, table: PolicyTable, rule: Rule | None) -> Policy:
    """The owner's figures, else the rule's."""
    floor = table.floor or health_of(1.0 if rule is None else rule.floor)
    target = table.target or health_of(1.0 if rule is None else rule.target)
    share = GUARD_SHARE if rule is None else inf if rule.guard_share is None else rule.guard_share
    if table.guard_share is not None:
        share = float(Fraction(table.guard_share, BPS))
    return Policy(
        name=name,
        floor=floor,
        trigger_probability=table.trigger_probability
        or (None if rule is None else rule.trigger_probability),
        horizon_s=table.horizon or (DAY_S if rule is None else rule.horizon_s),
        target=target,
        max_health_to_act=table.max_health_to_act or target,
        max_per_action_usd8=table.max_per_action_usd,
        max_per_day_usd8=table.max_per_day_usd,
        min_action_usd8=table.min_action_usd,
        guard_share=share,
        guard_steepness=0.0 if rule is None else rule.guard_steepness,
        cooldown_s=table.cooldown or 0,
        response_s=table.response,
    )
