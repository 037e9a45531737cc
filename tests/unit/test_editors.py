"""The JSON schema that editors read."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from keeper.config.editors import schema_text
from keeper.resources import resource
from tests.unit.test_config import VALID


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(resource("config", "keeper.schema.json").read_text())
    return found


def properties(section: str) -> dict[str, Any]:
    whole = schema()
    kind = whole["properties"][section]
    inner = kind.get("additionalProperties") or kind.get("items") or kind
    found: dict[str, Any] = whole["$defs"][inner["$ref"].rpartition("/")[2]]["properties"]
    return found


def test_schema__published__is_what_the_settings_are_now() -> None:
    published = resource("config", "keeper.schema.json").read_text()
    assert published == schema_text(), "keeper schema > config/keeper.schema.json"


def test_schema__every_key_of_the_example__is_known_with_its_meaning() -> None:
    example = resource("config", "keeper.example.toml").read_text()
    section = ""
    for line in example.splitlines():
        if found := re.match(r"#? ?\[+([a-z_]+)", line):
            section = found[1]
        elif found := re.match(r"#? ?([a-z_]+) = \S.*\s# (.+)", line):
            meaning = properties(section)[found[1]].get("description", "")
            assert meaning, f"{section}.{found[1]}"


def test_schema__secrets__are_no_keys_of_the_file() -> None:
    text = resource("config", "keeper.schema.json").read_text()
    for name in ("private_key", "keystore_password", "webhook_url"):
        assert f'"{name}"' not in text


def test_schema__kinds__are_those_that_the_file_has() -> None:
    values = tomllib.loads(VALID)
    kinds = {int: "integer", float: "number", str: "string"}
    for key, value in values["policies"]["careful"].items():
        assert properties("policies")[key]["type"] in (kinds[type(value)], "number")
    assert properties("log")["level"]["enum"] == ["debug", "info", "warning", "error"]
    assert schema()["additionalProperties"] is False


def test_schema__beside_the_configuration__ships_with_the_wheel() -> None:
    assert Path("config/keeper.schema.json").name in {
        path.name for path in resource("config").iterdir()
    }
