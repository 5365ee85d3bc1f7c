"""Parsing of a chat completion request, strict: its headers and its body."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from agents.openai_api.errors import ContextLengthExceeded
from agents.openai_api.options import read_options
from agents.openai_api.request_messages import check_history, read_messages
from agents.openai_api.supported_parameters import check_parameters
from agents.openai_api.tools import read_flag
from agents.sessions import Completion, ModelNotFound
from foundation import strict_json
from foundation.errors import InvalidInput, TooLarge
from rest.idempotency import read_key
from rest.query_params import read_id, slug
from rest.request_body import read_body

# The fields that hold one: of a function, and of `response_format`.
_JSON_SCHEMAS = frozenset({"parameters", "schema"})
_RETRY_COUNT = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a completion is to be delivered; `model` is the client's name of it."""

    model: str
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class ChatCompletionRequest:
    """A completion and its delivery."""

    completion: Completion
    delivery: Delivery


def read_request(request: HttpRequest) -> ChatCompletionRequest:
    """The parsed request. Raises `InvalidInput`, `ContextLengthExceeded`, `Malformed` and `UnsupportedMediaType`."""
    try:
        return _read(request)
    except (TooLarge, RequestDataTooBig) as error:
        detail, pointer = (error.detail, error.pointer) if isinstance(error, TooLarge) else ("", None)
        raise ContextLengthExceeded(
            f"This model's maximum context length is exceeded. {detail}".rstrip(), pointer=pointer or "/messages"
        ) from None


def _read(request: HttpRequest) -> ChatCompletionRequest:
    body = without_nulls(read_body(request, max_bytes=settings.BANDSTAND.completion_bytes))
    check_parameters(body)
    model, conversation = _model(body.get("model")), read_messages(body.get("messages"))
    session_id = _session_id(request)
    if session_id is None:
        check_history(conversation)
    stream = read_flag(body.get("stream"), "/stream")
    return ChatCompletionRequest(
        completion=Completion(
            model=model,
            parts=conversation.turn_parts,
            body=strict_json.canonical(body),
            history=conversation.history,
            options=replace(read_options(body), instructions=conversation.instructions),
            metadata=_metadata(body.get("metadata")),
            session_id=session_id,
            key=read_key(request),
            attempt=_attempt(request),
        ),
        delivery=Delivery(model, stream, _include_usage(body.get("stream_options"), stream=stream)),
    )


def without_nulls(value: Any) -> Any:
    """`value` without the fields that are null, at every depth: clients with typed structures send all of their fields.
    What is a JSON schema stays as it is: a null means something there."""
    if isinstance(value, dict):
        return {
            name: field if name in _JSON_SCHEMAS else without_nulls(field)
            for name, field in value.items()
            if field is not None
        }
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _model(model: Any) -> str:
    if not isinstance(model, str) or not model:
        raise InvalidInput("The slug of an agent is expected; GET /v1/models lists them.", pointer="/model")
    try:
        return slug(model)
    except ValueError:
        # Such as `openai/demo`: no agent has such a name, which is no fault of the request's form.
        raise ModelNotFound(pointer="/model") from None


def _session_id(request: HttpRequest) -> UUID | None:
    header = request.headers.get("X-Session-Id")
    return read_id("X-Session-Id", header.strip()) if header is not None else None


def _attempt(request: HttpRequest) -> int:
    """The number of retries that the client counts; 0 for an invalid or missing header."""
    header = request.headers.get("X-Stainless-Retry-Count", "").strip()
    return int(header) if _RETRY_COUNT.fullmatch(header) else 0


def _include_usage(options: Any, *, stream: bool) -> bool:
    if options in (None, {}):
        return False
    if not isinstance(options, dict):
        raise InvalidInput("An object is expected.", pointer="/stream_options")
    if not stream:
        raise InvalidInput("stream_options go with stream=true only.", pointer="/stream_options")
    for name in options:
        if name not in {"include_usage", "include_obfuscation"}:
            raise InvalidInput("There is no such option.", pointer=f"/stream_options/{name[:100]}")
    return read_flag(options.get("include_usage"), "/stream_options/include_usage")


def _metadata(metadata: Any) -> dict[str, str] | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidInput("An object of texts is expected.", pointer="/metadata")
    return metadata
