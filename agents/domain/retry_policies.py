"""The retry policy of each kind of operation: how often it is tried, and after which pauses."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from agents.domain.fallback import ONE_ATTEMPT, Policy


class OperationKind(StrEnum):
    """What may fail and be tried again."""

    LLM_CALL = "llm_call"
    TOOL_CALL = "tool_call"
    UTILITY_CALL = "utility_call"


POLICIES: Mapping[OperationKind, Policy] = MappingProxyType(
    {
        OperationKind.LLM_CALL: Policy(),
        # The model reads how a tool failed, and decides itself whether to call it again.
        OperationKind.TOOL_CALL: ONE_ATTEMPT,
        # Titles, summaries: whoever wants one goes on without it.
        OperationKind.UTILITY_CALL: Policy(attempts_per_route=1, attempts_on_last_route=2, extra_attempts=1),
    }
)
