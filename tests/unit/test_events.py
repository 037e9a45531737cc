"""Names that filters and rules rely on: what the pages list is what the code can say, no more, no less."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
NAME = re.compile(r"[a-z_]+(?:\.[a-z_]+)+")
TREES = {
    path: ast.parse(path.read_text())
    for path in sorted((ROOT / "keeper").rglob("*.py"))
    if "node_modules" not in path.parts
}


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield path, node


def constants() -> dict[tuple[Path, str], str]:
    """Text that stands at the top of a module under a name."""
    found = {}
    for path, tree in TREES.items():
        for node in tree.body:
            if not isinstance(node, ast.Assign):
                continue
            (target,) = node.targets
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            for name, value in zip(names, values, strict=False):
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                    found[path, name.id] = str(value.value)
    return found


CONSTANTS = constants()


def texts(path: Path, node: ast.expr) -> set[str]:
    """What an expression may be, as far as that stands in the code."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp():
            return texts(path, node.body) | texts(path, node.orelse)
        case ast.Name():
            by_name = {text for (where, name), text in CONSTANTS.items() if name == node.id}
            own = CONSTANTS.get((path, node.id))
            return by_name if own is None else {own}
        case _:
            return set()


def is_logging(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Name(id="log"), attr=attr):
            return attr in LEVELS
        case ast.IfExp():
            return is_logging(function.body) and is_logging(function.orelse)
        case ast.Name(id="say"):  # a level chosen beforehand
            return True
        case _:
            return False


def told_by_name(attributes: set[str]) -> set[str]:
    """First arguments of methods that take an alert's name."""
    return {
        text
        for path, call in calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in attributes and call.args
        for text in texts(path, call.args[0])
        if NAME.fullmatch(text)
    }


def events() -> set[str]:
    """Those of `Followed.alert`, which logs the alert's own name, among them."""
    found = told_by_name({"alert"})
    for path, call in calls():
        if is_logging(call.func):
            said = texts(path, call.args[0])
            assert said or path.name == "followed.py", f"{path}:{call.lineno}: no constant name"
            found |= said
    return found


def alerts() -> set[str]:
    found = told_by_name({"alert", "_alert"})
    for path, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in {"Alert", "Anomaly"}:
            (name,) = [word.value for word in call.keywords if word.arg == "name"]
            if isinstance(name, ast.JoinedStr):
                (begin,) = [each for each in name.values if isinstance(each, ast.Constant)]
                assert begin.value == "reserve."
                found |= {"reserve.paused", "reserve.frozen"}
            else:
                found |= texts(path, name)
    return found


def listed(page: str, after: str = "") -> set[str]:
    """The names in the first cells of its tables, from a heading on."""
    text = (
        (ROOT / "docs" / page).read_text().partition(after)[2]
        if after
        else (ROOT / "docs" / page).read_text()
    )
    cells = re.findall(r"^\| ([^|]*) \|", text, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_logs__events__are_exactly_those_of_the_page() -> None:
    assert events() == listed("LOGS.md")


def test_logs__every_event__is_a_constant_of_words_and_dots() -> None:
    assert [event for event in events() if not NAME.fullmatch(event)] == []


def test_alerts__names__are_exactly_those_of_the_page() -> None:
    said_once = {"keeper.digest", "keeper.test"}
    assert alerts() - said_once == listed("ALERTS.md", "## What is told")
