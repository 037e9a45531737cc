"""Every command line that a page shows is one that `keeper` understands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main

from keeper.cli.root import app
from tests.unit.test_docs import PAGES, ROOT

SOURCES = [
    *(ROOT / "keeper").glob("*.py"),
    *(ROOT / "keeper").glob("*/*.py"),
    *(path for path in (ROOT / "config").rglob("*") if path.is_file()),
    *(ROOT / "systemd").iterdir(),
    *(ROOT / name for name in ("Makefile", "Dockerfile", "compose.yaml", "pyproject.toml")),
]

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer carries a click of its own."""
PARTIAL = ("MissingParameter", "NoArgsIsHelpError", "BadOptionUsage")
"""What a sentence may leave out: an argument, a subcommand, an option's value."""


def understood(words: list[str], *, whole: bool) -> None:
    """Parse without running. Raises `UsageError`, but for what is missing from a part."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    try:
        while True:
            context = command.make_context(command.name, list(words), parent=context)
            if not hasattr(command, "resolve_command"):
                return
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            _, command, words = command.resolve_command(context, rest)
    except UsageError as error:
        if whole or type(error).__name__ not in PARTIAL:
            raise
    except typer.Exit:  # --help
        return


def shown(page: Path) -> Iterator[tuple[str, bool]]:
    """Command lines of fenced blocks, which are whole, and those within a sentence."""
    text = page.read_text()
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(block for kind, block in fences if kind in ("", "sh", "text"))
    for line in lines.replace("\\\n", " ").splitlines():
        if re.match(r"(\$ )?(sudo )?(\S*/)?keeper [a-z-]", line):
            yield line, True
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`(keeper [^`]+)`", prose):
        if "--install-completion" not in span:  # would be done at once
            yield " ".join(span.split()), False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page__its_command_lines__are_understood(page: Path) -> None:
    wrong = []
    for line, whole in shown(page):
        words = shlex.split(line, comments=True)
        begin = next(n for n, word in enumerate(words) if word.endswith("keeper"))
        words = [{"ID": "7"}.get(word, word) for word in words[begin + 1 :] if word != "&"]
        try:
            understood(words, whole=whole)
        except UsageError as error:
            wrong.append(f"{line}: {error}")
    assert not wrong


def test_page__an_option_that_no_command_has__is_found() -> None:
    with pytest.raises(UsageError, match="--config"):
        understood(["init", "--config", "keeper.toml"], whole=True)
    with pytest.raises(UsageError, match="verfy"):
        understood(["mandate", "verfy"], whole=False)


def test_text__telling_to_install_keeper__never_means_an_index() -> None:
    # The name belongs to somebody else there: it would come onto a machine with keys.
    wrong = []
    for path in [*PAGES, *SOURCES]:
        for line in path.read_text().splitlines():
            words = line.partition(" install ")[2].split() if "--no-index" not in line else []
            named = any(re.fullmatch(r"""['"]?keeper[\W]*""", word) for word in words)
            if re.search(r"""(?<![\w./])keeper\[[a-z]+\]""", line) or (named and "pip" in line):
                wrong.append(f"{path.relative_to(ROOT)}: {line}")
    assert not wrong
