"""How servers with OpenAI's chat completions API differ: one `Dialect` for each, by name.

A dialect says what a server's requests must look like. What its answers look like is no matter of dialects: the parser
reads all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LimitField = Literal["max_tokens", "max_completion_tokens"]
ReturnedReasoning = Literal["never", "with_calls", "always"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The form of the requests that a server takes. The defaults are understood by nearly every server.

    `limit_field`: its name of the limit of output tokens. `stream_usage`: whether it knows `stream_options`, without
    which some send no usage. `parallel_calls`: whether it knows `parallel_tool_calls`. `strict_tools`: whether it knows
    `strict` in a tool's declaration. `system_role`: the role of instructions; `user`: it knows no such role, so they
    begin the first question. `alternate`: user and assistant must take turns, so neighbours of one role are joined.
    `answer_after_results`: results of tools must be followed by an answer before the next question.
    `short_call_ids`: ids of calls have exactly nine letters and digits. `null_content`: the content of a message that
    only calls tools is null, not "". `name_results`: results carry the name of their tool. `returned_reasoning`: which
    answers of the history are sent with their reasoning, in `reasoning_field`; `with_calls` are those that call tools,
    where servers that require it get "" if there is none.
    `starts_reasoning`: answers begin inside of `<think>`, without the tag. `needs_finish_reason`: an answer whose end
    is marked but has no finish reason is broken off.
    """

    name: str = "generic"
    limit_field: LimitField | None = "max_tokens"
    stream_usage: bool = True
    parallel_calls: bool = True
    strict_tools: bool = True
    system_role: Literal["system", "developer", "user"] = "system"
    alternate: bool = True
    answer_after_results: bool = False
    short_call_ids: bool = False
    null_content: bool = True
    name_results: bool = False
    returned_reasoning: ReturnedReasoning = "never"
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    starts_reasoning: bool = False
    needs_finish_reason: bool = False


GENERIC = Dialect()

PRESETS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        GENERIC,
        Dialect("openai", limit_field="max_completion_tokens", alternate=False),
        Dialect("azure", limit_field="max_completion_tokens", alternate=False),
    )
}
