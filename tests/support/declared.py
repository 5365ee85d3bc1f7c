"""What the OpenAPI schema declares, and whether an answer keeps to it.

Stricter than clients have to be: a field, a status or a type of event that is not declared fails here, so that nobody
adds one in silence.
"""

import json
import re
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from jsonschema import Draft202012Validator

from agents.api.schema.events import payload_component
from rest.schema.generator import document

PREFIX = "/api/v1/"
# The test client is not behind the layer that names requests.
_ADDED_OUTSIDE = {"X-Request-Id"}
_UNDECLARED = {"405", "404"}


@cache
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document())
    return found


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """`part`, or what its `$ref` names."""
    while "$ref" in part:
        found: Any = schema()
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


@cache
def _strict_schemas() -> dict[str, Any]:
    return {name: _closed(shape) for name, shape in schema()["components"]["schemas"].items()}


def _closed(shape: Any) -> Any:
    """The shape without room for what is not declared."""
    if isinstance(shape, list):
        return [_closed(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    closed = {word: _closed(value) for word, value in shape.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


@cache
def _validator(shape: str) -> Draft202012Validator:
    root = {**_closed(json.loads(shape)), "components": {"schemas": _strict_schemas()}}
    return Draft202012Validator(root, format_checker=Draft202012Validator.FORMAT_CHECKER)


def check(value: Any, shape: dict[str, Any], where: str = "") -> None:
    """Fail unless `value` has exactly this shape."""
    faults = [
        f"{where}{fault.json_path}: {fault.message}"
        for fault in _validator(json.dumps(shape, sort_keys=True)).iter_errors(value)
    ]
    assert not faults, "\n".join(faults)


def check_event(event: dict[str, Any]) -> None:
    """Fail unless the event, the snapshot in place of events, or the error at a stream's end is as declared."""
    if event.get("type") == "resync":
        check({name: value for name, value in event.items() if name != "type"}, _component("Snapshot"), "resync ")
    elif event.get("type") == "error":
        check(event, _component("StreamError"), "error ")
    else:
        check(event, _component(payload_component(event["event"])), f"{event['event']} ")


def _component(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


@cache
def _patterns() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    return [
        (re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", path)), operations)
        for path, operations in schema()["paths"].items()
    ]


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """What is declared for a request; None when that address or method is none."""
    method = "get" if method == "HEAD" else method.lower()
    for pattern, operations in _patterns():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = operations.get(method)
            return found
    return None


def check_answer(method: str, path: str, answer: Any) -> None:
    """Fail unless `answer` (of Django's test client) is one that is declared for this request."""
    operation = operation_of(method, path.partition("?")[0])
    status, where = str(answer.status_code), f"{method} {path[:200]} {answer.status_code} "
    if operation is None:
        assert status in _UNDECLARED, f"{where}is not declared"
        shape = "OpenAIError" if path.startswith("/v1/") else "Problem"
        check(json.loads(answer.content), _component(shape), where)
        return
    if path.startswith("/v1/") and status not in operation["responses"]:
        check(json.loads(answer.content), _component("OpenAIError"), where)
        return
    assert status in operation["responses"], f"{where}is not declared"
    if answer.status_code < 400 and not path.startswith("/v1/"):
        taken = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        assert set(parse_qs(path.partition("?")[2])) <= taken, f"{where}takes a parameter that is not declared"
    declared = resolved(operation["responses"][status])
    for name, header in declared.get("headers", {}).items():
        if resolved(header).get("required") and name not in _ADDED_OUTSIDE:
            assert name in answer, f"{where}lacks {name}"
    if method == "HEAD":
        return
    content = declared.get("content")
    if content is None:
        assert answer.content == b"", where
        return
    media_type = answer["Content-Type"].partition(";")[0]
    assert media_type in content, f"{where}{media_type} is not declared"
    if not answer.streaming and media_type.endswith("json"):
        check(json.loads(answer.content), content[media_type]["schema"], where)
