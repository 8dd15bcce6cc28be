"""The scenario reference and the JSON Schema say what the declarations say."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from sfsim.declaration.fields import keys
from sfsim.scenario import json_schema
from sfsim.scenario.reference import MARKER, markdown
from sfsim.scenario.words import about_keys, all_tables

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "scenarios").glob("*.toml"))
TABLES = sorted({cls for tables in all_tables().values() for cls in tables}, key=lambda cls: cls.__name__)


def test_the_reference_is_up_to_date() -> None:
    text = (ROOT / "docs" / "scenario.md").read_text(encoding="utf-8")
    again = "run python -m sfsim.scenario.reference docs/scenario.md"
    assert text.partition(MARKER)[2].strip() == markdown().strip(), again


@pytest.mark.parametrize("cls", TABLES, ids=lambda cls: cls.__name__)
def test_every_key_is_explained(cls: type) -> None:
    texts = about_keys(cls)
    assert not [key for key in keys(cls) if key != "kind" and not texts[key]]


@pytest.mark.parametrize(
    "cls", [cls for cls in TABLES if ".cell." not in cls.__module__], ids=lambda cls: cls.__name__
)
def test_every_key_has_a_sentence_of_its_own(cls: type) -> None:
    texts = [about_keys(cls)[key] for key in keys(cls) if key != "kind"]
    assert len(set(texts)) == len(texts)


def test_the_reference_lists_framings_and_stages() -> None:
    text = markdown()
    assert "| `tcp-ipv4-ethernet` | 1448 bytes | 70 bytes | TCP 32 with timestamps, IPv4 20," in text
    assert "Stages, for `cut_layers`, in order: `conv1`, `conv2`, `conv3`, `head`." in text
    assert text.count("Stages, for") == 6


def holds(value: Any, schema: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Check a value against the part of JSON Schema that ours uses."""
    if "$ref" in schema:
        return holds(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    for word, enough in (("anyOf", any), ("oneOf", lambda found: sum(found) == 1)):
        if word in schema and not enough([holds(value, option, whole) for option in schema[word]]):
            return False
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "number": int | float,
        "integer": int,
    }
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return False
    if isinstance(value, bool) and schema.get("type") in ("number", "integer"):
        return False
    if isinstance(value, dict):
        if not set(schema.get("required", ())) <= set(value):
            return False
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False and not set(value) <= set(known):
            return False
        return all(holds(item, known[key], whole) for key, item in value.items() if key in known)
    if isinstance(value, list) and "items" in schema:
        return all(holds(item, schema["items"], whole) for item in value)
    return True


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_schema_accepts_the_examples(path: Path) -> None:
    schema = json_schema()
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    for key, value in table.items():
        assert holds(value, schema["properties"][key], schema), key
    assert holds(table, schema, schema)


def test_the_schema_knows_short_forms_and_refuses_mistakes() -> None:
    schema = json_schema()

    def codecs(value: Any) -> bool:
        return holds(
            {"client_model_up": value, "smashed_up": "x.toml"}, schema["properties"]["codecs"], schema
        )

    assert (
        codecs("x.toml")
        and codecs({"kind": "uniform", "bits": 8})
        and codecs({"codec": "x.toml", "of": "delta"})
    )
    assert codecs([{"kind": "uniform", "bits": 8}, {"kind": "zstd"}])
    assert not codecs(3) and not codecs({"kind": "unifrm"})
    cuts, seed = schema["properties"]["cut_layers"], schema["properties"]["seed"]
    assert holds("conv1", cuts, schema) and holds(["conv1"], cuts, schema) and not holds(1, cuts, schema)
    assert holds(3, seed, schema) and holds({"training": 1, "data": 1, "network": 1}, seed, schema)
    assert "latency_ms" not in schema["$defs"]["Link"]["properties"]
    assert schema["$defs"]["Link"]["additionalProperties"] is False
    assert schema["properties"]["batch_size"]["description"].startswith("Examples per minibatch")
