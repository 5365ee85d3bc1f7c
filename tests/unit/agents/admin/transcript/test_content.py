"""What a model said, as the console shows it: whatever it is, it can be sent to a browser."""

from typing import Any

import pytest

from agents.admin.transcript.content import ToolView, part_views


def tool_view(arguments: str) -> ToolView:
    call: Any = {"type": "tool_call", "id": "call_1", "name": "note", "arguments": arguments}
    (view,) = part_views([call], (), finished=True)
    assert view.tool is not None
    return view.tool


@pytest.mark.parametrize(
    ("arguments", "full", "summary"),
    [
        ('{"a": "x", "b": [1, "\u0645"]}', '{"a": "x", "b": [1, "\u0645"]}', 'x, [1,"\u0645"]'),
        (r'{"text": "\u0645\u0631"}', '{"text":"\u0645\u0631"}', "\u0645\u0631"),
        (r'{"text": "\ud83d\udc4d"}', '{"text":"\U0001f44d"}', "\U0001f44d"),
        (r'["\u0645"]', '["\u0645"]', '["\u0645"]'),
        (r'{"text": "\u0645', r'{"text": "\u0645', r'{"text": "\u0645'),
        # Half of a character, which no response can hold.
        (r'{"text": "\ud83d"}', r'{"text": "\ud83d"}', r'{"text": "\ud83d"}'),
    ],
)
def test_arguments_are_shown_with_their_letters(arguments: str, full: str, summary: str) -> None:
    tool = tool_view(arguments)
    assert (tool.arguments, tool.summary) == (full, summary)


@pytest.mark.parametrize("depth", [300, 2_000, 100_000])
def test_arguments_that_are_nested_too_deep_are_shown_as_they_are(depth: int) -> None:
    arguments = "[" * depth + r'"\u0645"' + "]" * depth
    tool = tool_view(arguments)
    assert arguments.startswith(tool.summary)
    assert arguments.startswith(tool.arguments.removesuffix(" …"))
