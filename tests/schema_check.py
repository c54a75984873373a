"""A strict check of values against the part of JSON Schema (draft 2020-12) that our OpenAPI document uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

ANNOTATIONS = {"description", "title", "examples", "default", "contentMediaType"}
CHECKED = {
    "$ref", "type", "enum", "const", "oneOf", "properties", "required", "additionalProperties", "items",
    "minLength", "maxLength", "minimum", "maximum",
}  # fmt: skip
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def problems(value: Any, schema: Schema, document: Mapping[str, Any], where: str = "$") -> Iterator[str]:
    """What is wrong with `value`, each with its place; nothing when it fits."""
    unknown = set(schema) - ANNOTATIONS - CHECKED
    if unknown:
        yield f"{where}: the schema uses {sorted(unknown)}, which nothing checks"
    if "$ref" in schema:
        yield from problems(value, resolve(schema["$ref"], document), document, where)
    if "type" in schema and not is_a(value, schema["type"]):
        yield f"{where}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    if "oneOf" in schema:
        tries = [list(problems(value, option, document, where)) for option in schema["oneOf"]]
        if sum(not found for found in tries) != 1:
            yield f"{where}: fits {sum(not found for found in tries)} of {len(tries)} schemas: {tries}"
    yield from _inside(value, schema, document, where)


def _inside(value: Any, schema: Schema, document: Mapping[str, Any], where: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}: {name} is missing"
        for name, inner in value.items():
            rule = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            yield from problems(inner, rule, document, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for index, inner in enumerate(value):
            yield from problems(inner, schema["items"], document, f"{where}[{index}]")
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 30):
        yield f"{where}: {len(value)} characters"
    if is_a(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{where}: {value} is out of range"


def is_a(value: Any, kinds: str | list[str]) -> bool:
    """Whether `value` has one of these JSON types; booleans are no numbers."""
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if isinstance(value, TYPES[kind]) and (not isinstance(value, bool) or kind == "boolean"):
            return True
    return False


def resolve(reference: str, document: Mapping[str, Any]) -> Any:
    """What a local reference points at. Raises `KeyError`."""
    assert reference.startswith("#/"), reference
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part]
    return found
