"""A turn in a recorded world: an entry of a test set, answered again by a release.

Its tools are the recording, its memories, task and summary those that were sent then, and nothing else of the release
reaches out: of all services only the model is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import orjson
import psycopg

from agents.domain.configuration import AgentConfiguration, FallbackSettings, HandoffSettings, MemoryPolicy
from agents.domain.marked_blocks import Summary
from agents.domain.model_messages import ToolSpec
from agents.domain.recordings import RecordedCall, Recording, canonical_call
from agents.domain.states import StepKind
from agents.domain.steps import StepRecord
from agents.engine.context import TurnContext
from agents.engine.ports import Services, ToolRunner
from agents.journal.queries import fetch
from foundation.ids import new_id

_RECORDING = """
SELECT c.recording::text FROM agents_evaluationresult r JOIN agents_testcase c ON c.id = r.case_id
WHERE r.turn_id = %(turn)s
"""


class Diverged(Exception):
    """The model called a tool as the recording does not have it."""


def isolate(configuration: AgentConfiguration) -> AgentConfiguration:
    """A release without all that reaches out of its turn: memory, people, other models, side work, rights (what was
    decided of a call is in its recorded result)."""
    return replace(
        configuration,
        memory=MemoryPolicy(),
        handoff=HandoffSettings(offered=False),
        fallbacks=FallbackSettings(),
        tool_rights=(),
        context_policy=replace(configuration.context_policy, summaries=False),
    )


def read_recording(turn_id: UUID, *, on: psycopg.Connection | None = None) -> Recording:
    """The recording of the entry that this turn answers; an empty one for an entry that is gone."""
    rows = fetch(_RECORDING, {"turn": turn_id}, on=on)
    return Recording.parse(orjson.loads(rows[0][0])) if rows else Recording()


def enter_recorded_world(context: TurnContext, recording: Recording) -> TurnContext:
    """The context of a turn in the world of `recording`."""
    first = context.history[0]
    summary = None
    if recording.summary:
        summary = Summary(str(new_id()), recording.summary, first.message_id, first.ordinal - 1)
    return replace(
        context,
        release=isolate(context.release),
        task=recording.tasks,
        memories=recording.memories,
        summary=summary,
        recording=recording,
    )


def recorded_services(
    recording: Recording, services: Services, get_steps: Callable[[], Sequence[StepRecord]]
) -> Services:
    """The services of a turn in the world of `recording`; `get_steps` returns its steps so far."""
    return replace(services, tools=RecordedTools(recording, services.tools, get_steps), memories=None)


@dataclass(frozen=True, slots=True)
class RecordedResult:
    """What a recorded call returned."""

    content: str
    is_error: bool


class RecordedTools:
    """A `ToolRunner` that runs nothing. Equal calls get the recorded results in their order. Which were used is read
    from the turn's steps, so that a turn that begins anew in another process gets the same ones."""

    def __init__(self, recording: Recording, tools: ToolRunner, get_steps: Callable[[], Sequence[StepRecord]]) -> None:
        self._tools = tools
        self._get_steps = get_steps
        self._results: dict[tuple[str, str], list[RecordedCall]] = defaultdict(list)
        for call in recording.calls:
            self._results[canonical_call(call.name, call.arguments)].append(call)

    @property
    def trusted_names(self) -> frozenset[str]:
        return self._tools.trusted_names

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        return self._tools.specs(names)

    def is_idempotent(self, name: str) -> bool:  # noqa: ARG002
        """Always True: to read a recording again has no effect."""
        return True

    async def call(
        self,
        name: str,
        arguments: str,
        *,
        session_id: UUID,  # noqa: ARG002
        turn_id: UUID,  # noqa: ARG002
        user_id: int,  # noqa: ARG002
        step: int,
        allowed: Sequence[str],  # noqa: ARG002
    ) -> RecordedResult:
        """The recorded result. Raises `Diverged` where there is none."""
        key = canonical_call(name, arguments)
        earlier = sum(
            one.kind is StepKind.TOOL and one.number < step and canonical_call(one.name, one.request) == key
            for one in self._get_steps()
        )
        results = self._results.get(key, [])
        if earlier >= len(results):
            raise Diverged(_describe(name, arguments, repeated=bool(results)))
        return RecordedResult(results[earlier].content, results[earlier].is_error)


def _describe(name: str, arguments: str, *, repeated: bool) -> str:
    what = f"{name}({arguments[:500]})"
    return f"It called {what} more often than the recording." if repeated else f"It called {what}."
