"""The hash of a request to a model, which its step records when it is sent. Whoever builds the request again from the
rows that it was made of sees by it whether it is the same.

What is hashed is our own form of the request, not the bytes of one provider's interface: those depend on what a server
was found to accept. It must cost little, since every call of a model pays for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from typing import Any, Final

import orjson

from agents.domain.model_messages import ChatMessage
from agents.llm.interface import ModelRequest

# Hexadecimal digits: of the hash of a request, and of a text that it was made of.
_HASH_DIGITS: Final = 32
_DIGEST_DIGITS: Final = 8


def hash_request(request: ModelRequest, tools_text: str) -> tuple[str, str]:
    """The first half of the SHA-256 of `request`, in hexadecimal digits, and a digest of its tools alone, which
    `tools_text` describes. How long the model may take is no part of it."""
    digest = hashlib.sha256(tools_text.encode("utf-8", "surrogatepass"))
    tools_digest = digest.hexdigest()[:_DIGEST_DIGITS]
    head = (request.model, request.max_output_tokens, request.stop, request.must_call, request.one_call, request.json)
    digest.update(_serialize((head, [_row(message) for message in request.messages])))
    return digest.hexdigest()[:_HASH_DIGITS], tools_digest


def digest_text(text: str) -> str:
    """Eight digits that are others for another text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_DIGITS]


def _row(message: ChatMessage) -> tuple[Any, ...]:
    # Plain tuples are written much faster than dataclasses are.
    if message.tool_calls or message.extras is not None:
        calls = [(call.id, call.name, call.arguments, call.issued_id) for call in message.tool_calls]
        return (message.role, message.text, calls, astuple(message.extras) if message.extras else None)
    return (message.role, message.text, message.tool_call_id)


def _serialize(value: Any) -> bytes:
    try:
        # Sorted, since PostgreSQL keeps no order of the fields that providers want back.
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # Text that is no valid Unicode: the route's adapter refuses it.
        return repr(value).encode("utf-8", "surrogatepass")
