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

    `limit_field`: its name of the limit of output tokens; None: it has none. `stream_usage`: whether it knows
    `stream_options`, without which some send no usage. `parallel_calls`: whether it knows `parallel_tool_calls`.
    `strict_tools`: whether it knows `strict` in a tool's declaration. `forces_calls`: whether it lets a call be forced
    (`tool_choice: required`), which models that reason often refuse.

    `system_role`: the role of instructions; `user`: it knows no such role, so they begin the first question.
    `alternate`: user and assistant must take turns, so neighbours of one role are joined. `answer_after_results`:
    results of tools must be followed by an answer before the next question. `short_call_ids`: ids of calls have exactly
    nine letters and digits. `null_content`: the content of a message that only calls tools is null, not "".
    `name_results`: results carry the name of their tool. `calls_need_tools`: calls in the history are refused where the
    request offers no tools, so they become text.

    `returned_reasoning`: which answers of the history are sent with their reasoning, in `reasoning_field`; `with_calls`
    are those that call tools. `requires_reasoning`: those without reasoning get a blank for it. `extra_fields`: whether
    it takes back what else it sent with an answer; others refuse fields that they do not know. `signs_calls`: it
    refuses calls without its signature, so those of other models get a stand-in.

    `starts_reasoning`: answers begin inside of `<think>`, without the tag. `needs_finish_reason`: an answer whose end
    is marked but has no finish reason is broken off. `has_key_header`: the key is sent as `api-key`, too.
    """

    name: str = "generic"
    limit_field: LimitField | None = "max_tokens"
    stream_usage: bool = True
    parallel_calls: bool = True
    strict_tools: bool = True
    forces_calls: bool = True
    system_role: Literal["system", "developer", "user"] = "system"
    alternate: bool = True
    answer_after_results: bool = True
    short_call_ids: bool = False
    null_content: bool = False
    name_results: bool = False
    calls_need_tools: bool = False
    returned_reasoning: ReturnedReasoning = "never"
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    requires_reasoning: bool = False
    extra_fields: bool = True
    signs_calls: bool = False
    starts_reasoning: bool = False
    needs_finish_reason: bool = False
    has_key_header: bool = False


# Chat templates of Mistral, Gemma and Llama 2 want roles in turns and skip calls and results when they count them
# (vllm#6862, llama_index#11731, llama.cpp#19851). Content that is null is refused by Ollama (pydantic-ai#5206), LM
# Studio (lmstudio-bug-tracker#261) and mistral-common's server (mistral-common#324); "" by Moonshot alone.
GENERIC = Dialect()

_ALL = (
    GENERIC,
    # The types of OpenAI's library (ChatCompletionMessageParam): no fields but theirs. Models that reason refuse
    # `max_tokens`.
    Dialect(
        "openai",
        limit_field="max_completion_tokens",
        alternate=False,
        answer_after_results=False,
        null_content=True,
        extra_fields=False,
    ),
    # The same since API version 2024-09-01-preview (azure-rest-api-specs#30909); `parallel_tool_calls` is refused by
    # some versions that list it (griptape#1640, azure-rest-api-specs#29545).
    Dialect(
        "azure",
        limit_field="max_completion_tokens",
        parallel_calls=False,
        alternate=False,
        answer_after_results=False,
        null_content=True,
        extra_fields=False,
        has_key_header=True,
    ),
    # Templates of its models: roles in turns, one system message (vllm#6862, vllm#41114), an answer after results and
    # ids of nine characters with Mistral's (mistral-vibe#578, vllm#9019). It reads `reasoning` (vllm#27755, #38488).
    Dialect("vllm", short_call_ids=True, returned_reasoning="with_calls", reasoning_field="reasoning"),
    # "invalid message content type: <nil>" (pydantic-ai#5206). `reasoning` is a field of its messages; `strict` none
    # (pydantic-ai's OllamaProvider).
    Dialect("ollama", strict_tools=False, returned_reasoning="with_calls", reasoning_field="reasoning"),
    # Templates as with vLLM, also for ids (llama.cpp#10572). GPT-OSS's refuses text with reasoning and calls
    # (llama.cpp#17040), so there is no reasoning.
    Dialect("llama.cpp", short_call_ids=True, strict_tools=False),
    # The engine of llama.cpp (lmstudio-bug-tracker#261, #842).
    Dialect("lmstudio", short_call_ids=True, strict_tools=False),
    # ml-explore/mlx-lm#1375: ids; the templates are those of the models again.
    Dialect("mlx", short_call_ids=True, strict_tools=False, parallel_calls=False),
    # protocol of its entrypoint "openai"; templates as with vLLM.
    Dialect("sglang", short_call_ids=True, returned_reasoning="with_calls"),
    # mistral-common's validator of instructions: the order of roles, ids of nine characters, names of functions.
    # Unknown
    # fields are "Extra inputs are not permitted": `stream_options` (anon-kode#53; usage comes all the same),
    # `max_completion_tokens` (eca#231, openclaude#739), `reasoning_content` (crush#1590).
    Dialect("mistral", stream_usage=False, short_call_ids=True, name_results=True, extra_fields=False),
    # api-docs.deepseek.com/guides/thinking_mode: calls go back with their reasoning; "" is taken for none (pi#3636,
    # pydantic-ai's DeepSeekProvider). `strict` is known at the beta address only, `parallel_tool_calls` not at all.
    Dialect(
        "deepseek",
        parallel_calls=False,
        strict_tools=False,
        returned_reasoning="with_calls",
        requires_reasoning=True,
    ),
    # "thinking is enabled but reasoning_content is missing" (openclaw#74846), also for "" (pi#4178); "text content is
    # empty" (kimi-cli#2621) and "must not be empty" (kimi-code#1985) for empty texts.
    Dialect(
        "moonshot",
        parallel_calls=False,
        strict_tools=False,
        null_content=True,
        returned_reasoning="with_calls",
        requires_reasoning=True,
    ),
    # Google's compatible endpoint: calls need the signature in `extra_content` (ai.google.dev, thought signatures),
    # results their name (OpenManus#824, hindsight#187); `parallel_tool_calls` is refused (magentic#382).
    Dialect(
        "gemini",
        parallel_calls=False,
        strict_tools=False,
        null_content=True,
        name_results=True,
        signs_calls=True,
    ),
    # groq-python's types. "property 'reasoning_content' is unsupported" (jan#8136), `reasoning` too by most models
    # (vercel/ai#8057).
    Dialect(
        "groq",
        limit_field="max_completion_tokens",
        strict_tools=False,
        null_content=True,
        extra_fields=False,
    ),
    # "property 'messages.2.assistant.reasoning_content' is unsupported" (kilocode#10375).
    Dialect("cerebras", limit_field="max_completion_tokens", null_content=True, extra_fields=False),
    # openrouter.ai/docs: reasoning goes back as `reasoning_details`, or as `reasoning` where there are none; tools
    # belong to every request with calls, as the models of Anthropic behind it demand.
    Dialect(
        "openrouter",
        null_content=True,
        calls_need_tools=True,
        returned_reasoning="with_calls",
        reasoning_field="reasoning",
    ),
)

PRESETS: dict[str, Dialect] = {dialect.name: dialect for dialect in _ALL}

# Where a preset is meant without being named: by the end of the host's name, or by the port of a local server.
_HOSTS = {
    "api.openai.com": "openai",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "generativelanguage.googleapis.com": "gemini",
    "aiplatform.googleapis.com": "gemini",
    "api.groq.com": "groq",
    "api.cerebras.ai": "cerebras",
    "openrouter.ai": "openrouter",
    ".openai.azure.com": "azure",
    ".services.ai.azure.com": "azure",
    ".cognitiveservices.azure.com": "azure",
}
_PORTS = {11434: "ollama", 1234: "lmstudio"}


def preset_for_address(host: str, port: int) -> Dialect:
    """The dialect of a server by its address, where the settings name none."""
    name = next((name for suffix, name in _HOSTS.items() if host == suffix or host.endswith(suffix)), _PORTS.get(port))
    return PRESETS.get(name or "", GENERIC)
