"""What a client asks of chat completions: its headers and its body, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from agents.api.bodies import read_body
from agents.api.idempotency import read_key
from agents.api.parameters import read_id
from agents.openai.messages import check_history, read_messages
from agents.openai.parameters import check_parameters
from agents.rules.client_options import ClientOptions
from agents.rules.conversation import ToolSpec
from agents.sessions import Completion
from foundation import strict_json
from foundation.errors import InvalidInput

# A client sends the whole conversation each time, so more than elsewhere; the server itself takes no more than this.
MAX_BYTES = 1024 * 1024
MAX_TOOLS = 128
MAX_DESCRIPTION = 16 * 1024
MAX_TOKENS = 1_000_000

_SLUG = re.compile(r"[-a-zA-Z0-9_]{1,63}")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_RETRY_COUNT = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A request and the way in which it wants its answer."""

    completion: Completion
    stream: bool
    include_usage: bool


def read_request(request: HttpRequest) -> CompletionRequest:
    """Raises `InvalidInput`, `TooLarge`, `Malformed` and `UnsupportedMediaType`."""
    body = read_body(request, max_bytes=MAX_BYTES)
    check_parameters(body)
    model, conversation = _model(body.get("model")), read_messages(body.get("messages"))
    session_id = _session_id(request)
    if session_id is None:
        check_history(conversation)
    stream = _flag(body.get("stream"), "/stream")
    return CompletionRequest(
        completion=Completion(
            model=model,
            parts=conversation.asked,
            body=strict_json.canonical(body),
            history=conversation.history,
            options=ClientOptions(_offered_tools(body), _max_tokens(body), conversation.instructions),
            metadata=_metadata(body.get("metadata")),
            session_id=session_id,
            key=read_key(request),
            attempt=_attempt(request),
        ),
        stream=stream,
        include_usage=_include_usage(body.get("stream_options"), stream=stream),
    )


def _model(model: Any) -> str:
    if not isinstance(model, str) or not _SLUG.fullmatch(model):
        raise InvalidInput("The slug of an agent is expected; GET /v1/models lists them.", pointer="/model")
    return model


def _session_id(request: HttpRequest) -> UUID | None:
    given = request.headers.get("X-Session-Id")
    return read_id("X-Session-Id", given.strip()) if given is not None else None


def _attempt(request: HttpRequest) -> int:
    """The retries that the client counts; what cannot be read is a first attempt."""
    given = request.headers.get("X-Stainless-Retry-Count", "").strip()
    return int(given) if _RETRY_COUNT.fullmatch(given) else 0


def _flag(value: Any, pointer: str) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidInput("True or false is expected.", pointer=pointer)


def _include_usage(options: Any, *, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict):
        raise InvalidInput("An object is expected.", pointer="/stream_options")
    if not stream:
        raise InvalidInput("stream_options go with stream=true only.", pointer="/stream_options")
    for name in options:
        if name not in {"include_usage", "include_obfuscation"}:
            raise InvalidInput("There is no such option.", pointer=f"/stream_options/{name[:100]}")
    return _flag(options.get("include_usage"), "/stream_options/include_usage")


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    """The newer name counts when both are given."""
    for name in ("max_completion_tokens", "max_tokens"):
        bound = body.get(name)
        if bound is not None:
            if type(bound) is not int or not 1 <= bound <= MAX_TOKENS:
                raise InvalidInput(f"A whole number from 1 to {MAX_TOKENS} is expected.", pointer=f"/{name}")
            return bound
    return None


def _metadata(metadata: Any) -> dict[str, str] | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidInput("An object of texts is expected.", pointer="/metadata")
    return metadata


def _offered_tools(body: Mapping[str, Any]) -> tuple[ToolSpec, ...]:
    tools, choice = _tools(body.get("tools")), body.get("tool_choice")
    if choice not in (None, "auto", "none"):
        raise InvalidInput('Only "auto" and "none" are supported here.', pointer="/tool_choice")
    return () if choice == "none" else tools


def _tools(tools: Any) -> tuple[ToolSpec, ...]:
    if tools is None:
        return ()
    if not isinstance(tools, list) or len(tools) > MAX_TOOLS:
        raise InvalidInput(f"A list of at most {MAX_TOOLS} tools is expected.", pointer="/tools")
    specs: list[ToolSpec] = []
    for index, tool in enumerate(tools):
        specs.append(_tool(tool, f"/tools/{index}"))
        if any(spec.name == specs[-1].name for spec in specs[:-1]):
            raise InvalidInput("This name stands here twice.", pointer=f"/tools/{index}/function/name")
    return tuple(specs)


def _tool(tool: Any, pointer: str) -> ToolSpec:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type") != "function":
        raise InvalidInput('A tool is {"type": "function", "function": {…}}.', pointer=pointer)
    pointer = f"{pointer}/function"
    name, description, parameters = function.get("name"), function.get("description"), function.get("parameters")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        raise InvalidInput("A name has 1 to 64 letters, digits, hyphens and underscores.", pointer=f"{pointer}/name")
    if description is not None and (not isinstance(description, str) or len(description) > MAX_DESCRIPTION):
        raise InvalidInput(
            f"Text of at most {MAX_DESCRIPTION} characters is expected.", pointer=f"{pointer}/description"
        )
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidInput("A JSON schema is expected.", pointer=f"{pointer}/parameters")
    return ToolSpec(name, description or "", parameters or {"type": "object", "properties": {}})
