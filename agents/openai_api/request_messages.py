"""The messages of a request, split into the history, the new input and the client's instructions.

Only the request as a whole bounds the length of its texts: a client sends back what it got, and what its tools found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.domain.client_options import check_results, client_tool_calls
from agents.domain.message_parts import Part, check_text, text_part, tool_call_part, tool_result_part
from foundation.errors import InvalidInput, TooLarge

MAX_MESSAGES = 2_000
MAX_CALLS = 128
MAX_NAME = 200

_ROLES = ("system", "developer", "user", "assistant", "tool")
# Not for the assistant: those messages come from responses, with any fields that a client's library adds.
_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "tool": {"role", "content", "tool_call_id", "name"},
}


@dataclass(slots=True)
class Conversation:
    """`history` is (author, parts), oldest first; `turn_parts` start the turn: tool results, then text."""

    instructions: str = ""
    history: list[tuple[str, list[Part]]] = field(default_factory=list)
    turn_parts: list[Part] = field(default_factory=list)


def read_messages(messages: Any) -> Conversation:
    """The conversation in `messages`. Raises `InvalidInput` and `TooLarge`, with pointers below `/messages`."""
    if not isinstance(messages, list) or not messages:
        raise InvalidInput("A list with at least one message is expected.", pointer="/messages")
    if len(messages) > MAX_MESSAGES:
        raise TooLarge(f"At most {MAX_MESSAGES} messages are taken.", pointer="/messages")
    reader = _Reader()
    for index, message in enumerate(messages):
        reader.add(message, f"/messages/{index}")
    return reader.finish(f"/messages/{len(messages) - 1}")


class _Reader:
    """Reads one message after the other. Results of client tools stay in `_results` until it is known whether they
    belong to the history or start the turn."""

    def __init__(self) -> None:
        self._instructions: list[str] = []
        self._history: list[tuple[str, list[Part]]] = []
        self._results: list[Part] = []
        self._last_role = ""

    def add(self, message: Any, pointer: str) -> None:
        role = _role(message, pointer)
        if role in {"system", "developer"}:
            if text := _text(message.get("content"), f"{pointer}/content"):
                self._instructions.append(text)
            return
        if role == "user":
            self._add_user(message, pointer)
        elif role == "assistant":
            self._add_assistant(message, pointer)
        else:
            self._add_result(message, pointer)
        self._last_role = role

    def _add_user(self, message: Mapping[str, Any], pointer: str) -> None:
        text = _text(message.get("content"), f"{pointer}/content")
        results, self._results = self._results, []
        self._history.append(("user", [*results, *([text_part(text)] if text else [])]))

    def _add_assistant(self, message: Mapping[str, Any], pointer: str) -> None:
        for name in ("audio", "function_call"):
            if message.get(name) is not None:
                raise InvalidInput(f"{name} is not supported here.", pointer=f"{pointer}/{name}")
        content = message.get("content")
        if content is None:
            content = message.get("refusal") or ""
        text = _text(content, f"{pointer}/content")
        calls = _calls(message.get("tool_calls"), f"{pointer}/tool_calls")
        if self._results:
            self._history.append(("user", self._results))
            self._results = []
        if parts := [*([text_part(text)] if text else []), *calls]:
            self._history.append(("agent", parts))

    def _add_result(self, message: Mapping[str, Any], pointer: str) -> None:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not 1 <= len(call_id) <= MAX_NAME:
            raise InvalidInput("The id of a tool call is expected.", pointer=f"{pointer}/tool_call_id")
        if any(result["call_id"] == call_id for result in self._results):
            raise InvalidInput("This call has a result already.", pointer=f"{pointer}/tool_call_id")
        content = _text(message.get("content"), f"{pointer}/content")
        self._results.append(tool_result_part(call_id=call_id, content=content, is_error=False))

    def finish(self, pointer: str) -> Conversation:
        """The conversation. Raises `InvalidInput` unless it ends with something to answer."""
        history, turn_parts, instructions = self._history, self._results, "\n\n".join(self._instructions)
        if not self._last_role and instructions:
            # There are only instructions: they are the question.
            return Conversation(turn_parts=[text_part(_checked(instructions, f"{pointer}/content"))])
        if self._last_role == "user":
            _, turn_parts = history.pop()
            if not turn_parts:
                raise InvalidInput("The message is empty.", pointer=pointer)
            if turn_parts[-1]["type"] == "text":
                _checked(turn_parts[-1]["text"], f"{pointer}/content")
        elif not turn_parts:
            raise InvalidInput("The last message must be from the user or from a tool.", pointer=pointer)
        return Conversation(instructions, history, turn_parts)


def check_history(conversation: Conversation) -> None:
    """Raise `InvalidInput` for a tool result without a call right before it."""
    calls: list[Part] = []
    for author, parts in conversation.history:
        if author == "user":
            check_results(calls, parts, require_all=False)
        calls = client_tool_calls(parts) if author == "agent" else []
    check_results(calls, conversation.turn_parts)


def _role(message: Any, pointer: str) -> str:
    if not isinstance(message, dict):
        raise InvalidInput("An object is expected.", pointer=pointer)
    role = message.get("role")
    if role not in _ROLES:
        raise InvalidInput(f"The role is one of {', '.join(_ROLES)}.", pointer=f"{pointer}/role")
    for name in message if role in _FIELDS else ():
        if name not in _FIELDS[role]:
            raise InvalidInput(f"A message with the role {role} has no such field.", pointer=f"{pointer}/{name[:100]}")
    return str(role)


def _text(content: Any, pointer: str) -> str:
    """The text of `content`, joined if it is a list of parts. Raises `InvalidInput`."""
    if isinstance(content, list):
        text = "".join(_part(part, f"{pointer}/{index}") for index, part in enumerate(content))
    elif isinstance(content, str):
        text = content
    else:
        raise InvalidInput("Text, or a list of text parts, is expected.", pointer=pointer)
    return _checked(text, pointer) if text.strip() else text


def _checked(text: str, pointer: str) -> str:
    return check_text(text, pointer=pointer, max_bytes=None)


def _part(part: Any, pointer: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in {"image_url", "input_audio", "file"}:
        raise InvalidInput("Only text is supported here: no images, sounds or files.", pointer=f"{pointer}/type")
    text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
    if kind not in {"text", "refusal"} or not isinstance(text, str):
        raise InvalidInput('A part is {"type": "text", "text": "…"}.', pointer=pointer)
    return text


def _calls(calls: Any, pointer: str) -> list[Part]:
    if calls is None:
        return []
    if not isinstance(calls, list) or len(calls) > MAX_CALLS:
        raise InvalidInput(f"A list of at most {MAX_CALLS} calls is expected.", pointer=pointer)
    parts: list[Part] = []
    for index, call in enumerate(calls):
        parts.append(_call(call, f"{pointer}/{index}"))
        if any(part["id"] == parts[-1]["id"] for part in parts[:-1]):
            raise InvalidInput("This id stands here twice.", pointer=f"{pointer}/{index}/id")
    return parts


def _call(call: Any, pointer: str) -> Part:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type", "function") != "function":
        raise InvalidInput("A call of a function is expected.", pointer=pointer)
    call_id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if not isinstance(call_id, str) or not 1 <= len(call_id) <= MAX_NAME:
        raise InvalidInput("The id of the call is expected.", pointer=f"{pointer}/id")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise InvalidInput("The name of a function is expected.", pointer=f"{pointer}/function/name")
    if not isinstance(arguments, str):
        raise InvalidInput("Arguments are JSON as text.", pointer=f"{pointer}/function/arguments")
    return tool_call_part(call_id=call_id, name=name, arguments=arguments)
