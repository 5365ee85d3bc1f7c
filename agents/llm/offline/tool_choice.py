"""Which of several tools the offline model calls when it has to call one."""

from __future__ import annotations

import re

from agents.llm.interface import ModelRequest, ToolSpec

# Names of tools by which frameworks end their loop.
_ENDS = re.compile(r"final|finish|answer|submit|respond|done|complete", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]{3,}")
_MAX_QUESTION = 64 * 1024


def choose_tool(request: ModelRequest) -> ToolSpec | None:
    """The tool whose name or description has most words in common with the question, the first of equal ones. Once
    there are results, a tool that ends a framework's loop; None if there is none, or it was called: a framework that
    forces a call each time would go on for ever."""
    messages = request.messages
    last_user = next((index for index in reversed(range(len(messages))) if messages[index].role == "user"), 0)
    called = {call.name for message in messages[last_user:] for call in message.tool_calls}
    if any(message.role == "tool" for message in messages[last_user:]):
        return next((tool for tool in request.tools if _ENDS.search(tool.name) and tool.name not in called), None)
    question = _words(messages[last_user].text[:_MAX_QUESTION]) if messages else set()
    return max(request.tools, key=lambda tool: _score(tool, question))


def _score(tool: ToolSpec, question: set[str]) -> tuple[int, int]:
    return len(_words(tool.name) & question), len(_words(tool.description[:1000]) & question)


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
