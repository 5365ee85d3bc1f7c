"""The request of one attempt: the context and the progress of the turn, fitted to the window of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agents.domain.client_options import smaller_limit
from agents.domain.configuration import ContextPolicy
from agents.domain.context_window import UNKNOWN_WINDOW, FittedPrompt, PromptPart, Shares, Strategy, fit
from agents.domain.message_parts import plain_text
from agents.domain.prompt import Block, Source
from agents.domain.token_estimates import TOKENS_PER_MESSAGE, Count, estimate_tokens, token_counter
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.progress import TurnProgress
from agents.llm.interface import ModelRequest, ToolSpec

# Ids of memories that a step names. All that a turn may recall: an answer is forgotten with what it may quote.
MAX_NAMED = 50


@dataclass(frozen=True, slots=True)
class AssembledRequest:
    """A request, what it holds, and the window of its model, None if unknown. `tool_tokens`: of the tools."""

    request: ModelRequest
    prompt: FittedPrompt
    known_window: int | None
    tool_tokens: int

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
    release, client = context.release, context.client
    forced = client.forced_tools if progress.is_first_model_call else ()
    # Forced calls are of the client's tools and end the turn. Forced in every call, no session would ever get an
    # answer.
    tools = forced or (*services.tools.specs(release.tools), *client.tools)
    max_output_tokens = smaller_limit(release.limits.call_output_tokens, client.max_output_tokens)
    known_window = await services.models.window(route)
    window = known_window or UNKNOWN_WINDOW
    count = token_counter(services.routes.token_factor(route))
    tool_tokens = count_tools(tools, count)
    blocks = (Block(Source.RELEASE, release.instructions), Block(Source.CLIENT, client.instructions))
    message_tokens = window - _reserve(window, max_output_tokens, release.context_policy) - tool_tokens
    if tools and message_tokens < window // 4:
        # Tools never cost the instructions and the question: the provider, who knows its window, may refuse instead.
        message_tokens = max(message_tokens, min(_least_tokens(blocks, context, count), window))
    prompt = fit(
        blocks,
        context.history,
        progress.parts if context.sends_work else (),
        message_tokens if max_tokens is None else min(message_tokens, max_tokens),
        count,
        route=route,
        work_extras=progress.provider_extras if context.sends_work else None,
        task=context.task if context.sends_work else (),
        memories=progress.memories if context.sends_work else (),
        summary=context.summary if context.sends_work else None,
        shares=_shares(release.context_policy),
    )
    request = ModelRequest(
        model=model,
        messages=prompt.messages,
        tools=tools,
        max_output_tokens=max_output_tokens,
        stop=client.stop,
        must_call=bool(forced),
        one_call=client.one_call,
        json=None if forced else client.json,
        deadlines=services.models.deadlines(route),
    )
    return AssembledRequest(request, prompt, known_window, tool_tokens)


def count_tools(tools: Sequence[ToolSpec], count: Count = estimate_tokens) -> int:
    """The tokens of the descriptions of `tools`."""
    return count(_serialize(tools)) if tools else 0


def _least_tokens(blocks: Sequence[Block], context: TurnContext, count: Count) -> int:
    """The tokens of the instructions and of the question alone."""
    texts = [*(block.text for block in blocks if block.text), plain_text(context.history[-1].parts)]
    return sum(count(text) + 2 * TOKENS_PER_MESSAGE for text in texts)


def _reserve(window: int, max_output_tokens: int | None, policy: ContextPolicy) -> int:
    """Tokens of the window that are kept free for the answer."""
    return min(max_output_tokens or policy.answer_tokens, window // 2)


def _shares(policy: ContextPolicy) -> Shares:
    return Shares(task=policy.task_percent / 100, memories=policy.memory_percent / 100)


def _serialize(tools: Sequence[ToolSpec]) -> str:
    try:
        return orjson.dumps(tools).decode()
    except orjson.JSONEncodeError:
        # A client's schema may hold numbers that only some providers accept. The route's adapter decides that.
        return str(tools)
