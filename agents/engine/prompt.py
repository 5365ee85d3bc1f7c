"""The request of one attempt: the context and the progress of the turn, fitted to the window of a model."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from agents.domain.client_options import smaller_limit
from agents.domain.prompt import Block, Source, estimate_tokens, fit
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.progress import TurnProgress
from agents.llm.interface import ModelRequest, ToolSpec

# Reserved in the window for an answer without a limit of its own; half of the window at most, with or without one.
ANSWER_TOKENS = 4_096


async def assemble(
    context: TurnContext,
    progress: TurnProgress,
    services: Services,
    route: str,
    *,
    max_tokens: int | None = None,
) -> ModelRequest:
    """The request that asks `route` for the next answer; its messages have at most so many tokens, if that is possible
    and `max_tokens` is set. Raises `BadModelRequest` for a route that cannot be used."""
    _, model = services.models.resolve(route)
    release, client = context.release, context.client
    forced = client.forced_tools if progress.is_first_model_call else ()
    # Forced calls are of the client's tools and end the turn. Forced in every call, no session would ever get an
    # answer.
    tools = forced or (*services.tools.specs(release.tools), *client.tools)
    max_output_tokens = smaller_limit(release.limits.call_output_tokens, client.max_output_tokens)
    window = await services.models.window(route)
    blocks = (Block(Source.RELEASE, release.instructions), Block(Source.CLIENT, client.instructions))
    message_tokens = smaller_limit(
        None if window is None else _message_tokens(window, tools, max_output_tokens), max_tokens
    )
    return ModelRequest(
        model=model,
        messages=fit(
            blocks,
            context.history,
            progress.parts if context.sends_work else (),
            message_tokens,
            estimate_tokens,
            route=route,
            work_extras=progress.provider_extras if context.sends_work else None,
        ),
        tools=tools,
        max_output_tokens=max_output_tokens,
        stop=client.stop,
        must_call=bool(forced),
        one_call=client.one_call,
        json=None if forced else client.json,
        deadlines=services.models.deadlines(route),
    )


def _message_tokens(window: int, tools: Sequence[ToolSpec], max_output_tokens: int | None) -> int:
    """Tokens for the messages: the window without the tools and the answer."""
    answer = min(max_output_tokens or ANSWER_TOKENS, window // 2)
    return window - answer - (estimate_tokens(_serialize(tools)) if tools else 0)


def _serialize(tools: Sequence[ToolSpec]) -> str:
    try:
        return orjson.dumps(tools).decode()
    except orjson.JSONEncodeError:
        # A client's schema may hold numbers that only some providers accept. The route's adapter decides that.
        return str(tools)
