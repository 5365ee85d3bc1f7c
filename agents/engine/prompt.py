"""The request of one attempt: what the turn is about and has done so far, fitted to the model behind a route."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from agents.domain.client_options import smaller_limit
from agents.domain.prompt import Block, Source, estimate_tokens, fit
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.progress import TurnProgress
from agents.llm.interface import ModelRequest, ToolSpec

# Kept free in the window for the answer where nobody bounds it; half of the window at most, as for one that is bounded.
ANSWER_TOKENS = 4_096


async def assemble(context: TurnContext, progress: TurnProgress, services: Services, route: str) -> ModelRequest:
    """The request that asks `route` for what comes next. Raises `BadModelRequest` for a route that leads nowhere."""
    _, model = services.models.resolve(route)
    release, client = context.release, context.client
    forced = client.forced_tools if progress.is_first_model_call else ()
    # A forced call is one of the client's, which ends the turn: forced each time, none would ever end.
    tools = forced or (*services.tools.specs(release.tools), *client.tools)
    max_output_tokens = smaller_limit(release.limits.call_output_tokens, client.max_output_tokens)
    window = await services.models.window(route)
    blocks = (Block(Source.RELEASE, release.instructions), Block(Source.CLIENT, client.instructions))
    room = None if window is None else _room(window, tools, max_output_tokens)
    return ModelRequest(
        model=model,
        messages=fit(blocks, context.history, progress.parts, room, estimate_tokens),
        tools=tools,
        max_output_tokens=max_output_tokens,
        stop=client.stop,
        must_call=bool(forced),
        one_call=client.one_call,
        json=None if forced else client.json,
    )


def _room(window: int, tools: Sequence[ToolSpec], max_output_tokens: int | None) -> int:
    """Tokens for the messages: what the tools and the answer leave."""
    answer = min(max_output_tokens or ANSWER_TOKENS, window // 2)
    return window - answer - (estimate_tokens(_serialize(tools)) if tools else 0)


def _serialize(tools: Sequence[ToolSpec]) -> str:
    try:
        return orjson.dumps(tools).decode()
    except orjson.JSONEncodeError:
        # A client's schema may hold numbers that only some providers take. The route's own adapter judges that.
        return str(tools)
