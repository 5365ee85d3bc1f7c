"""Generates the schema from the routes and their declarations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from threading import Lock
from typing import Any, Final, cast

from drf_spectacular.drainage import error
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry

from rest.schema import errors
from rest.schema.declarations import declared
from rest.schema.json_schema import ID, SLUG, TEXT, Schema, described
from rest.schema.operation import IDEMPOTENCY_KEY, IF_MATCH, Answer, Body, Header, Operation, Parameter
from rest.views import ApiView

# The URLs in the schema.
PREFIXES: Final = ("/api/v1/", "/v1/")
_COMMON_STATUSES = (401, 403, 406, 422, 429, 500, 503)
_PATH_PARTS = {name: described(SLUG, "The agent's slug.") for name in ("slug", "model")}
_lock = Lock()


@cache
def _document() -> bytes:
    schema = Generator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # the library has no types
    return json.dumps(schema, ensure_ascii=False).encode()


def document() -> bytes:
    """The schema as JSON, generated once per process."""
    with _lock:  # the library collects its warnings globally
        return _document()


def only_v1(endpoints: Iterable[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """The endpoints below `PREFIXES`."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(PREFIXES)]


class Registry(ComponentRegistry):
    """Returns the declared components; the library would collect them."""

    def build(self, _extra_components: Any) -> Any:
        return declared().components


class Generator(SchemaGenerator):
    """The generator of the schema of all routes below `PREFIXES`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.registry = Registry()


class Inspector(AutoSchema):
    """Returns the declared operation of a view's method."""

    def get_operation(
        self, path: str, _path_regex: str, _path_prefix: str, method: str, _registry: ComponentRegistry
    ) -> dict[str, Any] | None:
        operation = declared().operations.get((cast(type[ApiView], type(self.view)), method.lower()))
        if operation is None:
            error(f"{method} {path} is not declared: see rest.schema.operation")
            return None
        return _operation_object(operation, [part[1:-1] for part in path.split("/") if part.startswith("{")])


def _operation_object(operation: Operation, path_parts: list[str]) -> dict[str, Any]:
    body = {"requestBody": _body(operation.body)} if operation.body else {}
    return {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"{operation.description}\n\nScope of the key: `{operation.scope}`.",
        "parameters": [_parameter(parameter) for parameter in _parameters(operation, path_parts)],
        **body,
        "responses": {**_answers(operation.answers), **_error_responses(operation, bool(path_parts))},
        "security": [{"key": []}, {"key_header": []}],
    }


def _parameters(operation: Operation, path_parts: list[str]) -> Iterator[Parameter]:
    for name in path_parts:
        yield Parameter(name, _PATH_PARTS.get(name, ID), "", where="path", required=True)
    yield from operation.parameters
    if operation.idempotent:
        yield IDEMPOTENCY_KEY
    if operation.versioned:
        yield IF_MATCH


def _parameter(parameter: Parameter) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "schema": {key: value for key, value in parameter.shape.items() if key != "description"},
    }
    if description := parameter.description or parameter.shape.get("description"):
        result["description"] = description
    if parameter.example is not None:
        result["example"] = parameter.example
    return result


def _body(body: Body) -> dict[str, Any]:
    required = list(body.required)
    if body.reader is not None:
        reader = body.reader()
        if set(reader.fields) != set(body.fields):
            error(f"{body.reader.__name__} reads {sorted(reader.fields)}, but {sorted(body.fields)} are declared")
        required = [name for name, field in reader.fields.items() if field.required]
    shape: Schema = {
        "type": "object",
        "properties": dict(body.fields),
        "required": required,
        "additionalProperties": False,
    }
    if body.at_least_one:
        shape["minProperties"] = 1
    return {
        "required": not body.may_be_empty,
        "content": {"application/json": {"schema": shape, "example": dict(body.example)}},
    }


def _answers(answers: Iterable[Answer]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for answer in answers:
        response = result.setdefault(str(answer.status), {"description": answer.description, "headers": {}})
        response["headers"] |= {header.name: _header(header) for header in answer.headers}
        response["headers"] |= errors.COMMON_HEADERS
        if answer.shape is not None:
            content = {"schema": answer.shape, "example": answer.example}
            response.setdefault("content", {})[answer.media_type] = content
    return result


def _header(header: Header) -> dict[str, Any]:
    return {
        "description": header.description,
        "required": header.always,
        "schema": TEXT,
        "example": header.example,
    }


def _error_responses(operation: Operation, has_path_parts: bool) -> Mapping[str, Any]:
    if operation.error is not None:
        return {"default": errors.any_error_response(operation.error)}
    statuses = {*_COMMON_STATUSES, *operation.refusals}
    if has_path_parts:
        statuses |= {404}
    if operation.body:
        statuses |= {400, 413, 415}
    if operation.idempotent:
        statuses |= {409}
    if operation.versioned:
        statuses |= {412, 428}
    return {
        str(status): errors.error_response(status, description=operation.refusals[status])
        if status in operation.refusals
        else errors.common_error_response(status)
        for status in sorted(statuses)
    }
