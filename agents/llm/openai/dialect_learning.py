"""What a server's refusal says about its dialect.

Many servers refuse a request for one field or one rule that they name in words of their own. Where the request can do
without it, it is asked again so, and the process remembers that for the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from agents.llm.dialects import Dialect
from agents.llm.interface import ModelRequest

# llama.cpp and others answer 500 where a model's chat template refuses the messages.
_STATUSES = frozenset({400, 404, 422, 500})
_MAX_READ = 3_000
_REFUSED = (
    r"(?:unsupported|not support|n't support|unknown|unrecognized|unrecognised|not permitted|not allowed|forbidden|"
    r"unexpected|extra[_ ]|invalid|additional propert|not available|cannot be used|is not one of|deprecated)"
)
_SYSTEM = r"(?:system (?:role|messages?|prompts?|instructions?)|role '?system)"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned, by its name, and the dialect that follows it."""

    name: str
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class _LearningRule:
    """`change` holds when the words match and the request as it was sent could have been refused for it."""

    name: str
    words: re.Pattern[str]
    applies: Callable[[Dialect, ModelRequest], bool]
    change: dict[str, Any]


def _rule(
    name: str,
    words: str,
    applies: Callable[[Dialect, ModelRequest], bool] = lambda _dialect, _request: True,
    **change: Any,
) -> _LearningRule:
    return _LearningRule(name, re.compile(words, re.IGNORECASE | re.DOTALL), applies, change)


def _near(field: str) -> str:
    """A pattern for `field` and a word of refusal, in either order and not far from each other."""
    return rf"\b{field}\b.{{0,160}}?{_REFUSED}|{_REFUSED}.{{0,160}}?\b{field}\b"


def _has_limit(_dialect: Dialect, request: ModelRequest) -> bool:
    return request.max_output_tokens is not None


def _has_system(_dialect: Dialect, request: ModelRequest) -> bool:
    return any(message.role == "system" for message in request.messages)


def _has_calls(_dialect: Dialect, request: ModelRequest) -> bool:
    return any(message.tool_calls for message in request.messages)


# The first that matches and changes something counts.
_RULES = (
    _rule("stream_options", _near("stream_options") + "|" + _near("include_usage"), stream_usage=False),
    _rule(
        "max_completion_tokens",
        r"max_tokens.{0,160}max_completion_tokens",
        lambda dialect, request: dialect.limit_field == "max_tokens" and _has_limit(dialect, request),
        limit_field="max_completion_tokens",
    ),
    _rule(
        "max_tokens",
        _near("max_completion_tokens"),
        lambda dialect, request: dialect.limit_field == "max_completion_tokens" and _has_limit(dialect, request),
        limit_field="max_tokens",
    ),
    _rule(
        "no_limit",
        # Not of a limit that is only too large: "Invalid max_tokens value, the valid range is [1, 8192]".
        r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|extra\w{0,20})\b.{0,60}?\bmax_tokens\b|"
        r"\bmax_tokens\b.{0,60}?(?:not supported|not permitted|n't supported|extra_forbidden)",
        lambda dialect, request: dialect.limit_field == "max_tokens" and _has_limit(dialect, request),
        limit_field=None,
    ),
    _rule(
        "parallel_tool_calls",
        _near("parallel_tool_calls"),
        lambda _dialect, request: request.one_call,
        parallel_calls=False,
    ),
    _rule(
        "strict",
        _near("strict"),
        lambda _dialect, request: any(tool.strict for tool in request.tools),
        strict_tools=False,
    ),
    _rule(
        # DeepSeek (DeepSeek-V3#1376), DashScope (eino#994), Moonshot, Anthropic's models behind others.
        "tool_choice",
        _near("tool_choice") + r"|tool_choice.{0,160}incompatible|thinking.{0,60}when tool_choice forces",
        lambda _dialect, request: request.must_call,
        forces_calls=False,
    ),
    _rule(
        "reasoning_returned",
        r"(?:missing|must be (?:passed|provided|included)|required|expects?).{0,120}reasoning_content|"
        r"reasoning_content.{0,120}(?:missing|must be|required|passed back)",
        lambda dialect, request: not dialect.requires_reasoning and _has_calls(dialect, request),
        returned_reasoning="with_calls",
        requires_reasoning=True,
    ),
    _rule(
        "reasoning_kept",
        _near("reasoning_content") + "|" + _near("reasoning"),
        lambda dialect, _request: dialect.returned_reasoning != "never",
        returned_reasoning="never",
        requires_reasoning=False,
    ),
    _rule("signatures", r"missing.{0,40}thought_signature", _has_calls, signs_calls=True),
    _rule(
        "short_call_ids",
        r"(?:tool.?call|call).{0,60}(?:length of 9|9 characters|nine)|a-z, ?A-Z, ?0-9",
        _has_calls,
        short_call_ids=True,
    ),
    _rule(
        "answer_after_results",
        r"role '?user'? after role '?tool|after role '?tool'?.{0,40}user",
        _has_calls,
        answer_after_results=True,
        alternate=True,
    ),
    _rule(
        "alternate",
        r"(?:must|should|have to) alternate|alternating|same role|"
        r"consecutive (?:messages|roles|user|assistant)|roles? .{0,40}in turn|"
        r"role '?(?:user|assistant)'? after role",
        alternate=True,
    ),
    _rule(
        "user_role",
        rf"{_SYSTEM}.{{0,60}}?{_REFUSED}|{_REFUSED}.{{0,60}}?{_SYSTEM}|developer instruction is not enabled|"
        r"only user,? (?:and )?(?:assistant|model)(?:,? and tool)? roles? (?:is|are) (?:supported|allowed)",
        _has_system,
        system_role="user",
    ),
    _rule(
        "empty_content",
        r"content.{0,120}(?:null|none|string_type|valid string|be a string|missing|required)|"
        r"(?:null|none).{0,60}content",
        _has_calls,
        null_content=False,
    ),
    _rule(
        "null_content",
        r"content is empty|must not be empty|must be non-?empty",
        lambda dialect, request: not dialect.null_content and _has_calls(dialect, request),
        null_content=True,
    ),
    _rule(
        "result_names",
        r"tool.{0,80}\bname\b.{0,60}(?:required|missing)|(?:required|missing).{0,60}\bname\b",
        _has_calls,
        name_results=True,
    ),
)


def learn(dialect: Dialect, request: ModelRequest, status: int, words: str) -> Lesson | None:
    """What a response with this `status`, whose body holds `words`, says about the dialect; None if it says nothing
    that would make another request."""
    if status not in _STATUSES:
        return None
    words = words[:_MAX_READ]
    for rule in _RULES:
        learned = replace(dialect, **rule.change)
        if learned != dialect and rule.applies(dialect, request) and rule.words.search(words):
            return Lesson(rule.name, learned)
    return None
