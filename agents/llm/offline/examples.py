"""Example values that fit a JSON schema, for the answers of the offline model."""

from __future__ import annotations

from typing import Any

WORD = "offline"

# Schemas may refer to themselves, and branch at every level.
_MAX_VALUES = 1_000
_MAX_DEPTH = 20
# At this depth and below, null is chosen where it is allowed.
_OPTIONAL_DEPTH = 3
_NOTHING = {"type": "null"}
_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "offline@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def find_example(schema: dict[str, Any]) -> Any:
    """A value that fits `schema`, always the same one. Only common keywords are supported, not for example `pattern`.
    None where a schema is too deep."""
    return _Examples(schema).build(schema, 0)


class _Examples:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._remaining = _MAX_VALUES

    def build(self, schema: Any, depth: int) -> Any:
        self._remaining -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._remaining < 0:
            return None
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        if isinstance(values := schema.get("enum") or schema.get("examples"), list):
            return values[0]
        if isinstance(reference := schema.get("$ref"), str):
            return self.build(self._resolve_reference(reference), depth + 1)
        for name in ("anyOf", "oneOf", "allOf"):
            if isinstance(choices := schema.get(name), list) and choices:
                return self.build(
                    _NOTHING if depth > _OPTIONAL_DEPTH and _NOTHING in choices else choices[0], depth + 1
                )
        return self._build_type(schema, depth)

    def _build_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "object":
                declared = schema.get("properties")
                properties = declared if isinstance(declared, dict) else {}
                return {name: self.build(property, depth + 1) for name, property in properties.items()}
            case "array":
                count = min(_count(schema.get("minItems")), self._remaining)
                return [self.build(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "string":
                return _text(schema)
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return False
        return None

    def _resolve_reference(self, reference: str) -> Any:
        """The schema that a reference such as `#/$defs/Person` points to; None if there is none."""
        node: Any = self._root
        for step in reference.removeprefix("#").split("/")[1:]:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        return node


def _text(schema: dict[str, Any]) -> str:
    word = _FORMATS.get(str(schema.get("format")), WORD)
    word = word.ljust(min(_count(schema.get("minLength")), _MAX_VALUES), ".")
    return word[: _count(schema["maxLength"])] if "maxLength" in schema else word


def _number(schema: dict[str, Any]) -> Any:
    for name, beyond in (("minimum", 0), ("exclusiveMinimum", 1)):
        minimum: Any = schema.get(name)
        if type(minimum) in (int, float):
            return minimum + beyond
    return 0


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
