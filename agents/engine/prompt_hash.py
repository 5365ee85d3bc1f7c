"""The hash of all that the first request of a turn depends on: equal hashes mean that the same was asked."""

from __future__ import annotations

import hashlib
from dataclasses import fields

import orjson

from agents.engine.context import TurnContext
from agents.engine.ports import Services

# What no model is sent. The release is compared by its id. Whatever the context gains besides counts, so that it makes
# a difference too many rather than one too few.
_NOT_SENT = frozenset({"claim", "release", "steps", "tool_stalls", "sends_work"})


def prompt_hash(context: TurnContext, services: Services) -> bytes:
    """SHA-256 of what `context` and the tools of its release make of a first request, besides its route and what that
    route's window leaves out."""
    sent = {
        field.name: getattr(context, field.name)
        for field in fields(context)
        if field.name not in _NOT_SENT and field.name != "history"
    }
    # Without ids, and without what goes back to one provider only.
    history = [(item.author, item.parts) for item in context.history]
    prompt = [sent, history, services.tools.specs(context.release.tools)]
    return hashlib.sha256(_serialize(prompt)).digest()


def _serialize(prompt: object) -> bytes:
    try:
        return orjson.dumps(prompt, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # A client's schema may hold numbers that JSON of this kind does not.
        return repr(prompt).encode("utf-8", "surrogatepass")
