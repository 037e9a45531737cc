"""The policies that ship with keeper, and those of files."""

import json
from collections.abc import Sequence
from pathlib import Path

from keeper.model.errors import ConfigurationError, Problem
from keeper.policy.policy_file import PolicyFile
from keeper.resources import resource

FIRST = "nothing"


def roster() -> tuple[PolicyFile, ...]:
    """All that ship: doing nothing, then by id."""
    paths = sorted(resource("config", "policies").glob("*.json"))
    found = [load(path) for path in paths]
    return tuple(sorted(found, key=lambda policy: (policy.id != FIRST, policy.id)))


def shipped_default() -> PolicyFile:
    """The one that is recommended."""
    return next(policy for policy in roster() if policy.default)


def chosen(asked: Sequence[str]) -> tuple[PolicyFile, ...]:
    """The policies of these files or ids, all that ship where none is asked for. Raises
    `ConfigurationError`."""
    if not asked:
        return roster()
    known = {policy.id: policy for policy in roster()}
    found: dict[str, PolicyFile] = {}
    for name in asked:
        policy = known.get(name)
        if policy is None:
            path = Path(name)
            if not path.exists():
                raise ConfigurationError(
                    Problem(
                        where="--policy",
                        what=f"{name} is neither a file nor a policy that ships",
                        why="a policy is replayed from its file",
                        fix=f"name a file, or one of {', '.join(known)}",
                    )
                )
            policy = load(path)
        found[policy.id] = policy
    return tuple(found.values())


def load(path: Path) -> PolicyFile:
    """The policy of a file. Raises `ConfigurationError` for one that this version cannot use."""
    try:
        return PolicyFile.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            Problem(
                where=str(path),
                what=f"it cannot be used as a policy: {error}",
                why="a keeper that acts by another policy than its owner means is dangerous",
                fix="make it with `keeper policy fit`, or take a file of config/policies",
            )
        ) from None


def save(policy: PolicyFile, path: Path) -> None:
    """Write it as JSON."""
    text = json.dumps(policy.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
