"""What the many spellings of `finish_reason` mean.

OpenAI's own are stop, length, tool_calls, content_filter and function_call. The others come from servers that pass on
what the model behind them says, and from their documents: Gemini's enum `FinishReason`, Anthropic's and Bedrock's stop
reasons, Mistral's, DeepSeek's, Zhipu's and Cohere's API references, vLLM's and SGLang's sources.
"""

from __future__ import annotations

import re
from enum import Enum, auto


class End(Enum):
    """How an answer ended."""

    STOP = auto()
    TOOL_CALLS = auto()
    LENGTH = auto()
    REPETITION = auto()
    FILTERED = auto()
    FAILED = auto()
    # A word that we do not know.
    UNKNOWN = auto()


_SPELLINGS: dict[End, str] = {
    End.STOP: "stop stopped end end_turn eos eos_token stop_sequence stop_token complete completed finish finished "
    "done endoftext normal success",
    End.TOOL_CALLS: "tool_calls tool_call tool_use function_call function_calls",
    End.LENGTH: "length max_tokens max_token max_length max_output_tokens max_completion_tokens model_length "
    "model_context_window_exceeded context_length max_context_length token_limit incomplete",
    End.REPETITION: "repetition repetition_detected repetitive loop",
    End.FILTERED: "content_filter content_filtered content_filter_error safety recitation blocklist prohibited_content "
    "spii image_safety sensitive sensitive_words refusal moderation guardrail_intervened policy_violation risk",
    End.FAILED: "error failed failure abort aborted cancel cancelled canceled timeout network_error server_error "
    "internal_error overloaded unavailable disconnect interrupted preempted insufficient_system_resource "
    "malformed_function_call malformed_response unexpected_tool_call too_many_tool_calls tool_error other language "
    "finish_reason_unspecified error_toxic error_limit",
}
_ENDS = {word: end for end, words in _SPELLINGS.items() for word in words.split()}

# For words that nobody has listed yet. The first that is found counts.
_PARTS: tuple[tuple[re.Pattern[str], End], ...] = (
    (re.compile(r"filter|safe|polic|sensitiv|prohibit|moderat|block|refus|guard"), End.FILTERED),
    (re.compile(r"err|fail|abort|cancel|time_?out|network|unavail|overload|disconn|interrupt|malform"), End.FAILED),
    (re.compile(r"length|max_|token_?limit|exceed|truncat"), End.LENGTH),
    (re.compile(r"repeti"), End.REPETITION),
    (re.compile(r"tool|function"), End.TOOL_CALLS),
    (re.compile(r"stop|end|eos|done|complet|finish"), End.STOP),
)
_STANDARD = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


def parse_finish_reason(reason: str) -> End:
    """How an answer with this `finish_reason` ended, in whatever spelling."""
    word = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", reason.strip()[:100]).lower()).strip("_")
    word = word.removeprefix("finish_reason_").removeprefix("finishreason_") or word
    if (end := _ENDS.get(word)) is not None:
        return end
    return next((end for pattern, end in _PARTS if pattern.search(word)), End.UNKNOWN)


def is_standard(reason: str) -> bool:
    """Whether `reason` is one of OpenAI's own."""
    return reason in _STANDARD


def is_set(reason: object) -> bool:
    """Whether a chunk's `finish_reason` says anything: some servers send "" or "null" with every chunk."""
    return bool(reason) and str(reason).strip().lower() not in ("", "null", "none")
