"""The declarations of `/v1` for the OpenAPI schema: see `agents.api.schema`."""

from __future__ import annotations

from typing import Any

from agents.domain.approvals import Decider
from agents.domain.response_fallbacks import FALLBACK_NOTES
from agents.openai_api.options import MAX_STOPS, MAX_TOKENS
from agents.openai_api.request_messages import MAX_CALLS, MAX_MESSAGES
from agents.openai_api.supported_parameters import PARAMETERS, Treatment
from agents.openai_api.tools import MAX_TOOLS
from agents.openai_api.views import CompletionsView, ModelsView, ModelView
from rest.content_negotiation import EVENT_STREAM
from rest.schema.json_schema import (
    ANYTHING,
    COUNT,
    ID,
    MOMENT,
    SESSION_ID,
    TEXT,
    TURN_ID,
    YES_OR_NO,
    Schema,
    array,
    choice,
    described,
    or_null,
    record,
    ref,
)
from rest.schema.operation import IDEMPOTENCY_KEY, REPLAYED, Answer, Body, Header, Operation, Parameter

TAG = "OpenAI-compatible"
MODEL = {"id": "demo", "object": "model", "created": 1795334400, "owned_by": "bandstand"}
_HEAD = {"id": "chatcmpl-019ab00000007000800000000000002", "created": 1795334400, "model": "demo"}
_MESSAGE = {"role": "assistant", "content": "17 * 3 = 51", "refusal": None}
_USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
COMPLETION = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": _MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": _USAGE,
}
STREAM_EXAMPLE = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795334400,"model":"demo","choices":'
    '[{"index":0,"delta":{"content":"17 "},"logprobs":null,"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
_STREAM = described(
    TEXT,
    "The `data` of each event is JSON, but for the last, which is `[DONE]`.",
    contentMediaType=EVENT_STREAM,
    contentSchema={"anyOf": [ref("ChatCompletionChunk"), ref("OpenAIError")]},
)
_FALLBACK = choice(*FALLBACK_NOTES, description="What the answer is in place of one of the agent's models.")
_FINISH = choice("stop", "length", "tool_calls")
_CALLED = record({"name": TEXT, "arguments": described(TEXT, "JSON text as the model wrote it.")})
COMPONENTS: dict[str, Schema] = {
    "OpenAIError": record(
        {"error": ref("OpenAIErrorDetail")}, description="Every refusal below `/v1`; `docs/openai.md` lists the codes."
    ),
    "OpenAIErrorDetail": record(
        {
            "message": TEXT,
            "type": TEXT,
            "code": or_null(TEXT),
            "param": or_null(TEXT),
            "approvals": array(ref("OpenAIApproval"), description="With `approval_required`: what waits for a person."),
        },
        optional=("approvals",),
    ),
    "OpenAIApproval": record(
        {
            "approval": ID,
            "turn": ID,
            "path": described(TEXT, "Where its user decides, by POST."),
            "step": COUNT,
            "call_id": TEXT,
            "tool": TEXT,
            "arguments": described(TEXT, "JSON text: the call that is stored and will run."),
            "reasons": array(TEXT, description="Why a person is asked."),
            "who": choice(*Decider, description="Who may decide."),
            "until": described(MOMENT, "After this the call is refused."),
        }
    ),
    "Model": record({"id": TEXT, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT}),
    "ModelList": record({"object": {"const": "list"}, "data": array(ref("Model"))}),
    "ChatMessageInput": {
        "type": "object",
        "properties": {
            "role": choice("system", "developer", "user", "assistant", "tool"),
            "content": described(
                {"anyOf": [TEXT, array(ANYTHING), {"type": "null"}]}, "Text, or a list of text parts."
            ),
            "name": or_null(TEXT),
            "tool_calls": or_null(array(ref("ChatToolCall"), maxItems=MAX_CALLS)),
            "tool_call_id": or_null(TEXT),
        },
        "required": ["role"],
        "additionalProperties": True,
    },
    "ChatToolCall": record({"id": TEXT, "type": {"const": "function"}, "function": ref("ChatFunctionCall")}),
    "ChatFunctionCall": _CALLED,
    "ChatTool": record({"type": {"const": "function"}, "function": ref("ChatFunction")}),
    "ChatFunction": record(
        {
            "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
            "description": or_null(TEXT),
            "parameters": described(or_null(ANYTHING), "A JSON schema."),
            "strict": or_null(YES_OR_NO),
        },
        optional=("description", "parameters", "strict"),
    ),
    "ChatMessage": record(
        {
            "role": {"const": "assistant"},
            "content": or_null(TEXT),
            "refusal": {"type": "null"},
            "reasoning_content": described(TEXT, "What the model thought before it."),
            "tool_calls": array(ref("ChatToolCall")),
        },
        optional=("reasoning_content", "tool_calls"),
    ),
    "ChatChoice": record(
        {"index": COUNT, "message": ref("ChatMessage"), "logprobs": {"type": "null"}, "finish_reason": _FINISH}
    ),
    "ChatUsage": record(
        {
            "prompt_tokens": COUNT,
            "completion_tokens": COUNT,
            "total_tokens": COUNT,
            "prompt_tokens_details": record({"cached_tokens": or_null(COUNT)}),
            "completion_tokens_details": record({"reasoning_tokens": or_null(COUNT)}),
        }
    ),
    "ChatCompletion": record(
        {
            "id": TEXT,
            "object": {"const": "chat.completion"},
            "created": COUNT,
            "model": TEXT,
            "choices": array(ref("ChatChoice")),
            "usage": described(or_null(ref("ChatUsage")), "Of all model calls of the turn; null where one is unknown."),
            "fallback": _FALLBACK,
        },
        optional=("fallback",),
    ),
    "ChatDelta": record(
        {
            "role": {"const": "assistant"},
            "content": TEXT,
            "reasoning_content": TEXT,
            "tool_calls": described(array(ANYTHING), "A call's name first, then its arguments; `index` says whose."),
        },
        optional=("role", "content", "reasoning_content", "tool_calls"),
    ),
    "ChatChunkChoice": record(
        {"index": COUNT, "delta": ref("ChatDelta"), "logprobs": {"type": "null"}, "finish_reason": or_null(_FINISH)}
    ),
    "ChatCompletionChunk": record(
        {
            "id": TEXT,
            "object": {"const": "chat.completion.chunk"},
            "created": COUNT,
            "model": TEXT,
            "choices": array(ref("ChatChunkChoice")),
            "usage": or_null(ref("ChatUsage")),
            "fallback": _FALLBACK,
        },
        optional=("usage", "fallback"),
        description="The `data` of a stream's events, until `[DONE]`.",
    ),
}
_HONOURED: dict[str, Schema] = {
    "model": described(TEXT, "The slug of an agent."),
    "messages": array(ref("ChatMessageInput"), minItems=1, maxItems=MAX_MESSAGES),
    "stream": or_null(YES_OR_NO),
    "stream_options": or_null(ANYTHING),
    "max_completion_tokens": or_null({"type": "integer", "minimum": 1, "maximum": MAX_TOKENS}),
    "max_tokens": or_null({"type": "integer", "minimum": 1, "maximum": MAX_TOKENS}),
    "stop": described({"anyOf": [TEXT, array(TEXT, maxItems=MAX_STOPS), {"type": "null"}]}, "Where the text ends."),
    "response_format": or_null(ANYTHING),
    "tools": or_null(array(ref("ChatTool"), maxItems=MAX_TOOLS)),
    "tool_choice": {"anyOf": [TEXT, ANYTHING, {"type": "null"}]},
    "parallel_tool_calls": or_null(YES_OR_NO),
    "metadata": or_null({"type": "object", "additionalProperties": TEXT}),
}
_NOTES = {Treatment.IGNORED: "Taken and not looked at.", Treatment.REFUSED: "Only a value that asks for nothing."}
_SESSION = Header("X-Session-Id", "The session of this conversation.", SESSION_ID)
_TURN = Header("X-Turn-Id", "The turn that answers.", TURN_ID)


def _parameter(name: str, treatment: Treatment) -> Schema:
    return _HONOURED[name] if treatment is Treatment.HONOURED else {"description": _NOTES[treatment]}


_EXAMPLE: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "What is 17 * 3?"}]}
OPERATIONS = {
    (ModelsView, "get"): Operation(
        "list_models",
        TAG,
        "The agents that you may talk to, as models",
        "By slug.",
        [Answer(200, "All of them.", ref("ModelList"), {"object": "list", "data": [MODEL]})],
        error="OpenAIError",
    ),
    (ModelView, "get"): Operation(
        "get_model",
        TAG,
        "One agent, as a model",
        "By its slug.",
        [Answer(200, "The model.", ref("Model"), MODEL)],
        error="OpenAIError",
    ),
    (CompletionsView, "post"): Operation(
        "create_chat_completion",
        TAG,
        "Ask an agent, as OpenAI's clients do",
        "With `stream`, chunks as server-sent events (see ChatCompletionChunk). The request is a turn like any other: "
        "it goes on when you leave.",
        [
            Answer(200, "The answer.", ref("ChatCompletion"), COMPLETION, headers=[_SESSION, _TURN, REPLAYED]),
            Answer(200, "", _STREAM, STREAM_EXAMPLE, media_type=EVENT_STREAM),
        ],
        scope="chat",
        body=Body(
            None,
            {name: _parameter(name, treatment) for name, treatment in PARAMETERS.items()},
            _EXAMPLE,
            required=("model", "messages"),
        ),
        parameters=[
            Parameter("X-Session-Id", TEXT, "The session to go on with; without it a new one begins.", where="header"),
            IDEMPOTENCY_KEY,
        ],
        error="OpenAIError",
    ),
}
