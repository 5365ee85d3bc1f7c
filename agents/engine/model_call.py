"""One call of a model: the request, the words on their way into the log, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from agents.domain.client_options import smaller
from agents.domain.events import EventType, MessageDelta
from agents.domain.prompt import build_request
from agents.domain.steps import StepRecord
from agents.domain.usage import Spent
from agents.engine.context import TurnContext
from agents.engine.delta_buffer import DeltaPump
from agents.engine.delta_writer import get_deltas
from agents.engine.ports import Services
from agents.engine.progress import Work
from agents.journal.fenced_writes import NewEvent
from agents.llm.errors import ModelError
from agents.llm.interface import Finished, Metered, ModelEvent, ModelRequest, ToolCall, Usage
from foundation.storable_text import storable_text

# More than any model reads or writes; a hundred of them still fit into a turn's columns, whatever a provider claims.
MAX_TOKENS_PER_CALL = 20_000_000
# What a step's columns hold of a tool's name and of a call's id.
MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. `unsent` is what of its text the log does not have yet; `cut` says that a bound ended it."""

    text: str
    unsent: Sequence[NewEvent]
    tool_calls: Sequence[ToolCall]
    cut: bool
    spent: Spent

    @property
    def result(self) -> dict[str, Any]:
        """As its step keeps it."""
        calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in self.tool_calls]
        return {"text": self.text, "tool_calls": calls} | ({"finish_reason": "length"} if self.cut else {})


class ModelCall:
    """The call that the open step `step` stands for; `ask` may be called once.

    `asked` says that an earlier claim may have made it already. `lost` is called when the log refuses the words.
    `route` is the one that it has asked, None before it did.
    """

    def __init__(
        self,
        step: StepRecord,
        context: TurnContext,
        work: Work,
        services: Services,
        *,
        asked: bool,
        lost: Callable[[], object],
    ) -> None:
        self.step = step
        self.route: str | None = None
        self._context = context
        self._work = work
        self._services = services
        self._asked = asked
        self._lost = lost
        self._said: list[str] = []
        self._characters = 0
        # What its provider has counted so far.
        self._metered: Metered | None = None
        self._pump: DeltaPump | None = None

    @property
    def asked(self) -> bool:
        """Whether its provider may have heard of it."""
        return self._asked

    @property
    def said(self) -> str:
        return "".join(self._said)

    async def ask(self) -> Reply:
        """Raises `ModelError`, `Park`, `LimitReached`, and what writing to the log raises."""
        try:
            return await self._answer()
        except ModelError as error:
            if error.refused and not self._said:
                self._asked = False
            raise

    async def close(self) -> list[NewEvent]:
        """No words reach the log from now on but those under way, which are waited for; what of them is left over.

        Raises what writing them has raised.
        """
        pump, self._pump = self._pump, None
        return _delta(await pump.close()) if pump is not None else []

    def spent_in_vain(self) -> Spent:
        """What it has used if it comes to no end, as far as its provider told."""
        if not self._asked:
            return Spent()
        told = self._metered
        return self._price(told.usage, told.response_model) if told else self._price(None, None)

    async def _answer(self) -> Reply:
        self.route = self._planned
        llm, model = self._services.models.resolve(self.route)
        request = self._request(model)
        self._asked = True
        self._pump = DeltaPump(self._write, self._lost)
        finished: Finished | None = None
        async with aclosing(llm.stream(request)) as events:
            async for event in events:
                finished = self._take(event, self._pump) or finished
        assert finished is not None, "the port promises one Finished"
        unsent = await self._pump.close()
        self._pump = None
        return Reply(
            text=self.said,
            unsent=_delta(unsent),
            tool_calls=tuple(map(_storable, finished.tool_calls[: 1 if self._context.client.one_call else None])),
            cut=finished.finish_reason == "length",
            spent=self._price(finished.usage, finished.response_model),
        )

    def _request(self, model: str) -> ModelRequest:
        release, client = self._context.release, self._context.client
        forced = client.forced_tools if self._work.is_first_model_call else ()
        return ModelRequest(
            model=model,
            messages=build_request(
                instructions=release.instructions,
                history=self._context.history,
                work=self._work.parts,
                policy=release.context_policy,
                client_instructions=client.instructions,
            ),
            # A forced call is one of the client's, which ends the turn: forced each time, none would ever end.
            tools=forced or (*self._services.tools.specs(release.tools), *client.tools),
            max_output_tokens=smaller(release.limits.call_output_tokens, client.max_output_tokens),
            stop=client.stop,
            must_call=bool(forced),
            one_call=client.one_call,
            json=None if forced else client.json,
        )

    def _take(self, event: ModelEvent, pump: DeltaPump) -> Finished | None:
        if isinstance(event, Finished):
            return event
        if isinstance(event, Metered):
            self._metered = event
            return None
        self._say(storable_text(event.text), pump)
        return None

    def _say(self, text: str, pump: DeltaPump) -> None:
        self._said.append(text)
        pump.feed(text)
        # A provider that ignores every bound is stopped while it talks, not after.
        self._characters += len(text)
        self._work.check_length(self._characters)

    @property
    def _planned(self) -> str:
        return self._context.release.model_chain[0]

    async def _write(self, text: str) -> None:
        await get_deltas().write(self._context.claim, text)

    def _price(self, usage: Usage | None, response_model: str | None) -> Spent:
        if usage is not None:
            usage = replace(
                usage,
                input_tokens=min(usage.input_tokens, MAX_TOKENS_PER_CALL),
                output_tokens=min(usage.output_tokens, MAX_TOKENS_PER_CALL),
            )
        cost = self._services.models.cost(self._planned, usage, response_model=response_model)
        return Spent(usage.input_tokens, usage.output_tokens, cost) if usage else Spent(cost_usd=cost)


def _delta(text: str) -> list[NewEvent]:
    return [NewEvent(EventType.MESSAGE_DELTA, MessageDelta(text=text))] if text else []


def _storable(call: ToolCall) -> ToolCall:
    """`call` as its row can hold it, from the beginning: a result is found by the same id on every way back."""
    call_id, name = (storable_text(text)[:MAX_NAME] for text in (call.id, call.name))
    return ToolCall(call_id, name, storable_text(call.arguments))
