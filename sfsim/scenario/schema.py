"""JSON Schema of a scenario file, for editors that complete and check keys while one types."""

from typing import Any

from pydantic import TypeAdapter

from sfsim.scenario.scenario import Scenario
from sfsim.scenario.words import about, about_keys, all_tables

_PATH = {"type": "string", "description": "The path of a TOML file, relative to this one."}
_PROFILE = {"type": "string", "description": "A TOML file whose keys hold where they are not given here."}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of scenario files, short forms included.

    >>> json_schema()["properties"]["main_server"]["anyOf"][1]["description"]
    'The path of a TOML file, relative to this one.'
    """
    schema = TypeAdapter(Scenario).json_schema()
    tables: dict[str, Any] = schema.pop("$defs")
    classes = {cls.__name__: cls for found in all_tables().values() for cls in found}
    for name, table in [("Scenario", schema), *tables.items()]:
        texts = about_keys(classes[name])
        table["description"] = about(classes[name])
        table["properties"] = {
            key: _widen(value, tables) | ({"description": texts[key]} if texts.get(key) else {})
            for key, value in table["properties"].items()
        }
        if "const" in table["properties"].get("kind", {}):
            table["required"] = ["kind", *table.get("required", [])]
    schema["required"].remove("name")  # the file's own name is its default
    for table in tables.values():
        table["properties"]["profile"] = _PROFILE
        if "required" in table:
            table["anyOf"] = [{"required": table.pop("required")}, {"required": ["profile"]}]
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "An sfsim scenario"}
    return {**schema, **head, "$defs": tables}


def _widen(value: dict[str, Any], tables: dict[str, Any]) -> dict[str, Any]:
    """Add what a file may say instead: a path for a table, one entry for a list; TOML has no null."""
    value = {key: item for key, item in value.items() if (key, item) != ("default", None) and key != "title"}
    if {"type": "null"} in value.get("anyOf", []):
        rest = [option for option in value.pop("anyOf") if option != {"type": "null"}]
        value |= rest[0] if len(rest) == 1 else {"anyOf": rest}
    if value.get("type") == "array" and "items" in value:
        item = _widen(value["items"], tables)
        return {"anyOf": [value | {"items": item}, item]}
    if isinstance(value.get("additionalProperties"), dict):
        return value | {"additionalProperties": _widen(value["additionalProperties"], tables)}
    named = [
        option["$ref"].rpartition("/")[2] for option in [value, *value.get("oneOf", [])] if "$ref" in option
    ]
    if not named:
        return value
    default = {"default": value.pop("default")} if "default" in value else {}
    chain = [{"type": "array", "minItems": 1}] if "Chain" in named else []
    codec = [_widen(tables["ModelCodec"]["properties"]["codec"], tables)] if named == ["ModelCodec"] else []
    return {"anyOf": [value, _PATH, *chain, *codec]} | default
