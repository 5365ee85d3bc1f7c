"""A fact is remembered, recalled, superseded and forgotten."""

from __future__ import annotations

from typing import Any, Final

from accounts.actor import Actor
from agents.models import Agent
from foundation.db_threads import in_db_thread
from memory.enums import MemoryScope, MemorySource
from memory.ownership import OwnerKey
from memory.recall import RecallRequest, recall
from memory.writing import forget_memory, remember
from monitoring.readiness_validator.scratch.trial_bench import OFFLINE, TrialBench, create_scratch_agent

_AGENT: Final = "readiness-memory"
_QUESTION: Final = "Which colour is the lighthouse?"


async def try_memory(bench: TrialBench) -> dict[str, Any]:
    """Whether each step had its effect."""
    await in_db_thread(create_scratch_agent, _AGENT, OFFLINE)
    return await in_db_thread(_remember_and_forget, bench.asker)


def _remember_and_forget(actor: Actor) -> dict[str, Any]:
    agent_id = Agent.objects.values_list("pk", flat=True).get(slug=_AGENT)
    owner = OwnerKey(MemoryScope.USER, user_id=actor.user_id, agent_id=agent_id)

    def store(colour: str) -> Any:
        text = f"The lighthouse is {colour}."
        return remember(actor, owner, text, source=MemorySource.API, slot="colour of the lighthouse").id

    def recalled() -> list[str]:
        return [memory.text for memory in recall([owner], RecallRequest(query=_QUESTION)).memories]

    store("red")
    first = recalled()
    newer = store("white")
    second = recalled()
    forget_memory(actor, newer)
    third = recalled()
    return {
        "recalled": any("red" in text for text in first),
        "superseded": any("white" in text for text in second) and not any("red" in text for text in second),
        "forgotten": not any("white" in text for text in third),
    }
