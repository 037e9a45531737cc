"""What is written for users, held against what there is."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from keeper.config import load_settings
from keeper.config.schema import MandateTable, Table, Tables

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "contracts_abi").rglob("README.md")),
]
EXAMPLE = ROOT / "config" / "keeper.example.toml"
SECRETS = {"keystore_password", "private_key", "apprise_url"}
"""Come by the environment alone, so that no file may show them."""
SOMEBODY = "0x52908400098527886E0F7030069857D2E4169EE7"


def _sections() -> Iterator[tuple[str, type[Table]]]:
    for name, field in Tables.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield name, kind  # type: ignore[misc]  # every section is a Table


SECTIONS = list(_sections())


def keys(section: type[Table]) -> set[str]:
    return set(section.model_fields) - SECRETS


def uncommented() -> str:
    """The example with every key and section that it only shows."""
    shown = re.sub(r"^# (?=[a-z_]+ = |\[)", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    return shown.replace("0x…", SOMEBODY)


def given(section: Mapping[str, Any] | list[Mapping[str, Any]], table: str) -> set[str]:
    """The keys of a section that may stand once, under names or in a list."""
    if isinstance(section, list):
        return {key for one in section for key in one}
    if table in {"endpoints", "policies", "markets", "signers", "mandates", "channels"}:
        return {key for one in section.values() for key in one}
    return set(section)


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_example__every_section__names_every_key(name: str, section: type[Table]) -> None:
    shown = tomllib.loads(uncommented())
    assert given(shown[name], name) == keys(section)


def test_example__everything_uncommented__loads(tmp_path: Path) -> None:
    # A feed's market is told by a pool or by another feed, a policy's figures by a preset or a file,
    # so that one of both has to go.
    text = re.sub(r"^(market_feed|file = \"policy).*\n", "", uncommented(), flags=re.MULTILINE)
    path = tmp_path / "keeper.toml"
    path.write_text(text)
    settings = load_settings(
        path,
        {
            "RPC_KEY": "k",
            "OTHER_KEY": "o",
            "KEEPER_CHANNELS__PHONE__APPRISE_URL": "json://127.0.0.1",
        },
    )
    assert [each.name for each in settings.chain.endpoints] == [None, "second"]
    assert settings.mandates.keys() == {"main", "perp"}


@pytest.mark.parametrize(("name", "section"), SECTIONS)
def test_readme__every_section__names_every_key(name: str, section: type[Table]) -> None:
    page = README if section is not MandateTable else ROOT / "docs" / "MANDATE.md"
    named = set(re.findall(r"`([a-z_0-9]+)`", page.read_text()))
    assert keys(section) - named == set()
    assert f"[{name}" in README.read_text()


def test_mandate_page__its_example__loads_beside_the_configuration(tmp_path: Path) -> None:
    (section,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "MANDATE.md").read_text(), flags=re.DOTALL
    )
    path = tmp_path / "keeper.toml"
    path.write_text(f"{EXAMPLE.read_text()}\n{section}")
    settings = load_settings(path, {"RPC_KEY": "k"})
    assert settings.mandates["main"].account == SOMEBODY


def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page__links__lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link
