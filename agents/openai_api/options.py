"""The options of a request: tools, output limit, stop sequences and response format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.domain.client_options import ClientOptions
from agents.domain.model_messages import JsonFormat
from agents.openai_api.tools import BAD_NAME, NAME, read_description, read_flag, read_tool_offer
from foundation.errors import InvalidInput

MAX_TOKENS = 1_000_000
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 200


def read_options(body: Mapping[str, Any]) -> ClientOptions:
    """The options of `body`, without the instructions. Raises `InvalidInput`."""
    offer = read_tool_offer(body)
    parallel = read_flag(body.get("parallel_tool_calls"), "/parallel_tool_calls", default=True)
    return ClientOptions(
        tools=offer.tools,
        max_output_tokens=_max_tokens(body),
        stop=_stop(body.get("stop")),
        must_call=offer.must_call,
        one_call=offer.one_call or not parallel,
        json=_json_format(body.get("response_format")),
    )


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    """The maximal number of output tokens; the newer name wins when both are present."""
    for name in ("max_completion_tokens", "max_tokens"):
        bound = body.get(name)
        if bound is not None:
            if type(bound) is not int or not 1 <= bound <= MAX_TOKENS:
                raise InvalidInput(f"A whole number from 1 to {MAX_TOKENS} is expected.", pointer=f"/{name}")
            return bound
    return None


def _stop(stop: Any) -> tuple[str, ...]:
    if stop in (None, "", []):
        return ()
    texts = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, list) or len(texts) > MAX_STOPS:
        raise InvalidInput(f"Text, or a list of at most {MAX_STOPS} texts, is expected.", pointer="/stop")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP_CHARACTERS:
            raise InvalidInput(
                f"Text of 1 to {MAX_STOP_CHARACTERS} characters is expected.",
                pointer="/stop" if texts is not stop else f"/stop/{index}",
            )
    return tuple(dict.fromkeys(texts))


def _json_format(response_format: Any) -> JsonFormat | None:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return JsonFormat()
    if kind != "json_schema":
        raise InvalidInput("The type is text, json_object or json_schema.", pointer="/response_format")
    pointer, json_schema = "/response_format/json_schema", response_format.get("json_schema")
    if not isinstance(json_schema, dict):
        raise InvalidInput('It is {"name": "…", "schema": {…}}.', pointer=pointer)
    name, schema = json_schema.get("name"), json_schema.get("schema")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidInput(BAD_NAME, pointer=f"{pointer}/name")
    if not isinstance(schema, dict) or not schema:
        raise InvalidInput("A JSON schema is expected.", pointer=f"{pointer}/schema")
    description = read_description(json_schema.get("description"), f"{pointer}/description")
    return JsonFormat(schema, name, description, read_flag(json_schema.get("strict"), f"{pointer}/strict"))
