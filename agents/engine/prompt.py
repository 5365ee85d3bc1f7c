"""The request of one attempt: the context and the progress of the turn, fitted to the window of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.domain.client_options import smaller_limit
from agents.domain.configuration import ContextPolicy
from agents.domain.context_window import UNKNOWN_WINDOW, FittedPrompt, PromptPart, Shares, Strategy, fit
from agents.domain.marked_blocks import HUMAN_NOTE, MemoryBlock, Summary, TaskBlock
from agents.domain.message_parts import plain_text
from agents.domain.prompt import Block, Source
from agents.domain.token_estimates import TOKENS_PER_MESSAGE, Count, estimate_tokens, token_counter
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.progress import TurnProgress
from agents.engine.sent_requests import digest_text, hash_request
from agents.llm.interface import Deadlines, ModelRequest, ToolSpec

# Ids of memories that a step names. All that a turn may recall: an answer is forgotten with what it may quote.
MAX_NAMED = 50


@dataclass(frozen=True, slots=True)
class RouteInputs:
    """What a request depends on besides its conversation: its route, the name of the model behind it, that one's
    window, None if it is unknown, and how many of its tokens an estimated one is."""

    route: str
    model: str
    known_window: int | None = None
    token_factor: float = 1.0
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True, slots=True)
class AssembledRequest:
    """A request, what it holds, and what it was made of. `tool_tokens`: of the tools, which `tools_text` describes.
    `task`, `memories` and `summary` are what it could have held."""

    request: ModelRequest
    prompt: FittedPrompt
    inputs: RouteInputs
    tool_tokens: int
    tools_text: str
    first_ordinal: int
    task: Sequence[TaskBlock] = ()
    memories: Sequence[MemoryBlock] = ()
    summary: Summary | None = None

    @property
    def known_window(self) -> int | None:
        """The window of the model; None if unknown."""
        return self.inputs.known_window

    @property
    def context_percent(self) -> float:
        """How much of the window the request uses, in percent."""
        tokens = self.tool_tokens + sum(self.prompt.tokens.values())
        return 100 * tokens / (self.known_window or UNKNOWN_WINDOW)

    def report(self) -> dict[str, Any]:
        """What goes into the step's details: the window, the tokens of each part, and what was left out."""
        prompt = self.prompt
        tokens = {PromptPart.TOOLS.value: self.tool_tokens} if self.tool_tokens else {}
        tokens |= {part.value: number for part, number in prompt.tokens.items()}
        report: dict[str, Any] = {"window": self.known_window or UNKNOWN_WINDOW, "tokens": tokens}
        if prompt.strategy is not Strategy.NONE:
            report["strategy"] = prompt.strategy.value
        used = {
            "messages_left_out": len(prompt.dropped_messages),
            "messages_shortened": len(prompt.shortened_messages),
            "rounds_left_out": prompt.dropped_rounds,
            "memories": list(prompt.used_memories[:MAX_NAMED]),
            "memories_left_out": list(prompt.dropped_memories[:MAX_NAMED]),
            "tasks_left_out": len(prompt.dropped_tasks),
            "summary": prompt.summary,
        }
        return report | {name: value for name, value in used.items() if value}

    def record(self) -> dict[str, Any]:
        """What goes into the step's details so that the request can be built again, and proved to be the same: the hash
        of the request, and what it was made of besides the rows of its turn.

        `{"hash", "tools", "first", "factor", "tasks": [[id, digest]], "memories": [[id, digest]], "summary"}`, each but
        the hash and the ordinal of the `first` message only where there is something to say; the memories and tasks
        that it could have held, in their order."""
        request_hash, tools_digest = hash_request(self.request, self.tools_text)
        record: dict[str, Any] = {"hash": request_hash, "first": self.first_ordinal}
        made_of = {
            "tools": tools_digest if self.tools_text else "",
            "factor": self.inputs.token_factor if self.inputs.token_factor != 1 else None,
            "tasks": [[task.id, digest_text(task.text)] for task in self.task],
            "memories": [[memory.id, digest_text(memory.text)] for memory in self.memories],
            "summary": self.summary.id if self.summary is not None else None,
        }
        return record | {name: value for name, value in made_of.items() if value}


async def assemble(
    context: TurnContext,
    progress: TurnProgress,
    services: Services,
    route: str,
    *,
    max_tokens: int | None = None,
) -> AssembledRequest:
    """The request that asks `route` for the next answer; its messages have at most so many tokens, if that is possible
    and `max_tokens` is set. Raises `BadModelRequest` for a route that cannot be used."""
    _, model = services.models.resolve(route)
    inputs = RouteInputs(
        route,
        model,
        await services.models.window(route),
        services.routes.token_factor(route),
        services.models.deadlines(route),
    )
    return build_request(context, progress, services.tools.specs(context.release.tools), inputs, max_tokens=max_tokens)


def build_request(
    context: TurnContext,
    progress: TurnProgress,
    release_tools: Sequence[ToolSpec],
    inputs: RouteInputs,
    *,
    max_tokens: int | None = None,
) -> AssembledRequest:
    """The request that `assemble` returns. Pure: equal arguments give an equal request, whenever they are put together
    again."""
    release, client = context.release, context.client
    forced = client.forced_tools if progress.is_first_model_call else ()
    # Forced calls are of the client's tools and end the turn. Forced in every call, no session would ever get an
    # answer.
    tools = forced or (*release_tools, *client.tools)
    max_output_tokens = smaller_limit(release.limits.call_output_tokens, client.max_output_tokens)
    window = inputs.known_window or UNKNOWN_WINDOW
    count = token_counter(inputs.token_factor)
    tools_text = serialize_tools(tools)
    tool_tokens = count(tools_text) if tools else 0
    blocks = (
        Block(Source.RELEASE, release.instructions),
        Block(Source.CLIENT, client.instructions),
        Block(Source.PLATFORM, HUMAN_NOTE if any(item.author == "human" for item in context.history) else ""),
    )
    message_tokens = window - reserve_for_answer(window, max_output_tokens, release.context_policy) - tool_tokens
    if tools and message_tokens < window // 4:
        # Tools never cost the instructions and the question: the provider, who knows its window, may refuse instead.
        message_tokens = max(message_tokens, min(_least_tokens(blocks, context, count), window))
    task = context.task if context.sends_work else ()
    memories = progress.memories if context.sends_work else ()
    summary = context.summary if context.sends_work else None
    prompt = fit(
        blocks,
        context.history,
        progress.parts if context.sends_work else (),
        message_tokens if max_tokens is None else min(message_tokens, max_tokens),
        count,
        route=inputs.route,
        work_extras=progress.provider_extras if context.sends_work else None,
        task=task,
        memories=memories,
        summary=summary,
        shares=_shares(release.context_policy),
    )
    request = ModelRequest(
        model=inputs.model,
        messages=prompt.messages,
        tools=tools,
        max_output_tokens=max_output_tokens,
        stop=client.stop,
        must_call=bool(forced),
        one_call=client.one_call,
        json=None if forced else client.json,
        deadlines=inputs.deadlines,
    )
    return AssembledRequest(
        request,
        prompt,
        inputs,
        tool_tokens,
        tools_text,
        context.history[0].ordinal,
        task=task,
        memories=memories,
        summary=summary,
    )


def count_tools(tools: Sequence[ToolSpec], count: Count = estimate_tokens) -> int:
    """The tokens of the descriptions of `tools`."""
    return count(serialize_tools(tools)) if tools else 0


def serialize_tools(tools: Sequence[ToolSpec]) -> str:
    """The descriptions of `tools` as text; "" for none."""
    if not tools:
        return ""
    try:
        return orjson.dumps(tools).decode()
    except orjson.JSONEncodeError:
        # A client's schema may hold numbers that only some providers accept. The route's adapter decides that.
        return str(tools)


def _least_tokens(blocks: Sequence[Block], context: TurnContext, count: Count) -> int:
    """The tokens of the instructions and of the question alone."""
    texts = [*(block.text for block in blocks if block.text), plain_text(context.history[-1].parts)]
    return sum(count(text) + 2 * TOKENS_PER_MESSAGE for text in texts)


def reserve_for_answer(window: int, max_output_tokens: int | None, policy: ContextPolicy) -> int:
    """Tokens of the window that are kept free for the answer."""
    return min(max_output_tokens or policy.answer_tokens, window // 2)


def _shares(policy: ContextPolicy) -> Shares:
    return Shares(task=policy.task_percent / 100, memories=policy.memory_percent / 100)
