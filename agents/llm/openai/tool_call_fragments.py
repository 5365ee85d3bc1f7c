"""Assemble the tool calls of an answer from their fragments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.llm.interface import ToolCall
from foundation.storable_text import storable_text

MAX_TOOL_CALLS = 128
MAX_ARGUMENT_CHARACTERS = 1024 * 1024
MAX_NAME_CHARACTERS = 100
# What providers send with a call and want back with it: Gemini's thought signatures, also through LiteLLM.
RETURNED_FIELDS = ("extra_content", "thought_signature", "provider_specific_fields")


@dataclass(slots=True)
class _Call:
    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""
    # Arguments that came as an object, and the last piece of text: some servers send all arguments with each fragment.
    object: dict[str, Any] | None = None
    last: str = ""
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the arguments so far are a whole JSON object."""
        return self.object is not None or _load_object(self.arguments) is not None


class ToolCallFragments:
    """The calls of one answer. `names` are those of the tools that were offered.

    The first fragment of a call has its name and mostly an id; the others continue its arguments. Which call a fragment
    continues is told by its index, and by its id where servers give several calls one index.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = names
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def take(self, fragment: Mapping[str, Any]) -> None:
        """Add one fragment. Raises `ValueError` when the calls do not end, and what a malformed fragment causes."""
        function = fragment.get("function") or {}
        call_id, name = str(fragment.get("id") or ""), str(function.get("name") or "")
        index = fragment.get("index")
        index = int(index) if index is not None else None
        call = self._find(index, call_id)
        if call is None or self._begins_another(call, call_id, name):
            call = _Call(index)
            self._calls.append(call)
            if len(self._calls) > MAX_TOOL_CALLS:
                raise ValueError("too many calls")
        call.id = call.id or call_id
        call.name = self._join_name(call.name, name)
        self._add_arguments(call, function.get("arguments"))
        for field_name in RETURNED_FIELDS:
            if field_name in fragment:
                call.extras[field_name] = fragment[field_name]

    def finish(self, clean: Callable[[str], str]) -> tuple[tuple[ToolCall, ...], dict[str, Any]]:
        """The calls in their order, with ids that are set and unique: results are matched by them; and by these ids the
        fields that the provider wants back. `clean` is applied to arguments."""
        seen: set[str] = set()
        calls, extras = [], {}
        ordered = sorted(self._calls, key=lambda call: 0 if call.index is None else call.index)
        for number, call in enumerate(ordered):
            call_id = storable_text(call.id[:MAX_NAME_CHARACTERS]) or f"call_{number}"
            while call_id in seen:
                call_id += "_"
            seen.add(call_id)
            name = storable_text(call.name[:MAX_NAME_CHARACTERS])
            calls.append(ToolCall(call_id, name, storable_text(clean(_arguments(call)))))
            if call.extras:
                extras[call_id] = call.extras
        return tuple(calls), extras

    def _find(self, index: int | None, call_id: str) -> _Call | None:
        """The newest call that a fragment may belong to."""
        calls = self._calls
        if call_id:
            for call in reversed(calls):
                if call.id == call_id and (index is None or call.index == index):
                    return call
            if index is None:
                return None
        if index is None:
            return calls[-1] if calls else None
        return next((call for call in reversed(calls) if call.index == index), None)

    def _begins_another(self, call: _Call, call_id: str, name: str) -> bool:
        """Whether a fragment that has the index of `call` is the first one of another call."""
        if not name or (call_id and call_id == call.id):
            # Without a name it continues; some servers make a new id for each fragment.
            return False
        if call_id and call.id:
            return True
        if call.arguments or call.object is not None:
            # The name again, with more arguments; or the next call, of a server without ids.
            return call.is_complete or name != call.name
        return call.name in self._names and name in self._names and name != call.name

    def _join_name(self, name: str, piece: str) -> str:
        """A name that came in pieces, or with each fragment again."""
        if not piece or piece == name or (name in self._names and name + piece not in self._names):
            return name
        if piece.startswith(name):
            return piece
        return name + piece

    def _add_arguments(self, call: _Call, arguments: Any) -> None:
        if isinstance(arguments, dict):
            # Some local servers send the object itself; {} may stand for "nothing yet".
            if arguments:
                call.object = arguments
            return
        if arguments:
            call.last = str(arguments)
            call.arguments += call.last
            if len(call.arguments) > MAX_ARGUMENT_CHARACTERS:
                raise ValueError("arguments too long")


def _arguments(call: _Call) -> str:
    """The JSON text of the arguments, as the model wrote it where it can be read as an object."""
    if call.object is not None and _load_object(call.arguments) is None:
        return orjson.dumps(call.object).decode()
    if _load_object(call.arguments) is None:
        if (inner := _load(call.arguments)) is not None and isinstance(inner, str) and _load_object(inner) is not None:
            return inner
        if _load_object(call.last) is not None:
            return call.last
    return call.arguments


def _load(text: str) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None


def _load_object(text: str) -> dict[str, Any] | None:
    # Looked at before it is parsed: most fragments end in the middle.
    value = _load(text) if text.lstrip()[:1] == "{" and text.rstrip()[-1:] == "}" else None
    return value if isinstance(value, dict) else None
