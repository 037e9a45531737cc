"""The JSON schema of the configuration, for editors that complete and check TOML.

What a key means is told by the comment beside it in config/keeper.example.toml.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from keeper.config.problems import SECRET_KEYS
from keeper.config.schema import Tables
from keeper.resources import resource

SECTION = re.compile(r"#? ?\[+([a-z_]+)(?:\.[a-z_]+)?\]+")
KEY = re.compile(r"#? ?([a-z_]+) = .*?(?:\s# (.+))?")


def schema_text() -> str:
    """As config/keeper.schema.json holds it."""
    schema = Tables.model_json_schema(schema_generator=_Written)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "keeper.toml",
        "description": "The configuration of Keeper",
    }
    meanings = _meanings()
    for name, table in schema["properties"].items():
        for key, value in _table(schema, table).get("properties", {}).items():
            if (name, key) in meanings:
                value["description"] = meanings[name, key]
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


class _Written(GenerateJsonSchema):
    """Of what is written in the file: no secrets, and no defaults, which are in other units."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The value alone."""
        return self.generate_inner(schema["schema"])

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Without the keys that come by the environment alone."""
        found = super().model_schema(schema)
        for key in SECRET_KEYS:
            found.get("properties", {}).pop(key, None)
        found.pop("description", None)
        for value in found.get("properties", {}).values():
            # They are written as TOML.
            value.pop("examples", None)
        return found


def _table(schema: Mapping[str, Any], kind: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table behind a section, a dictionary of sections or a list of them."""
    inner = kind.get("additionalProperties") or kind.get("items") or kind
    reference = str(inner.get("$ref", ""))
    found: Mapping[str, Any] = schema["$defs"].get(reference.rpartition("/")[2], {})
    return found


def _meanings() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    section = ""
    example = resource("config", "keeper.example.toml").read_text(encoding="utf-8")
    for line in example.splitlines():
        if matched := SECTION.match(line):
            section = matched[1]
        elif (matched := KEY.fullmatch(line)) and matched[2]:
            found.setdefault((section, matched[1]), matched[2].strip())
    return found
