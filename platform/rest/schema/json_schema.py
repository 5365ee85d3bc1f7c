"""Building blocks of schemas: JSON Schema (2020-12) as used by OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
YES_OR_NO: Schema = {"type": "boolean"}
ID: Schema = {"type": "string", "format": "uuid"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
URL: Schema = {"type": "string", "format": "uri"}
MONEY: Schema = {"type": "string", "pattern": r"^\d+\.\d+$"}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
# See `rest.query_params.slug`.
SLUG: Schema = {"type": "string", "pattern": "^[-a-zA-Z0-9_]{1,63}$"}

# Values of the examples, which describe one conversation.
SESSION_ID = "019ab000-0000-7000-8000-000000000001"
TURN_ID = "019ab000-0000-7000-8000-000000000002"
QUESTION_ID = "019ab000-0000-7000-8000-000000000003"
ANSWER_ID = "019ab000-0000-7000-8000-000000000004"
ERROR_ID = "019ab000-0000-7000-8000-000000000005"
REQUEST_ID = "019ab000-0000-7000-8000-000000000006"
THEN = "2026-11-22T08:15:30.000001Z"


def ref(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def described(shape: Schema, description: str, **keywords: Any) -> Schema:
    """`shape` with a description and further keywords of JSON Schema."""
    return {**shape, "description": description, **keywords}


def choice(*values: str, description: str = "") -> Schema:
    """An enum of strings."""
    return {"type": "string", "enum": list(values)} | ({"description": description} if description else {})


def or_null(shape: Schema) -> Schema:
    """`shape`, or null."""
    if isinstance(shape.get("type"), str) and "enum" not in shape:
        return {**shape, "type": [shape["type"], "null"]}
    description = {"description": shape["description"]} if "description" in shape else {}
    return {"anyOf": [{k: v for k, v in shape.items() if k != "description"}, {"type": "null"}], **description}


def array(shape: Schema, **keywords: Any) -> Schema:
    """An array of `shape`, with further keywords of JSON Schema."""
    return {"type": "array", "items": shape, **keywords}


def record(fields: Mapping[str, Schema], *, optional: Collection[str] = (), description: str = "") -> Schema:
    """An object with these fields. Later versions may add some, so unknown fields are allowed."""
    shape: Schema = {
        "type": "object",
        "properties": dict(fields),
        "required": [name for name in fields if name not in optional],
    }
    return shape | ({"description": description} if description else {})


def page_schema(shape: Schema, **fields: Schema) -> Schema:
    """A page of a list, as `rest.pagination` makes it."""
    return record(
        {
            "results": array(shape),
            "next": described(or_null(URL), "The address of the next page; null on the last."),
            "previous": described(or_null(URL), "The address of the page before; null on the first."),
            **fields,
        }
    )
