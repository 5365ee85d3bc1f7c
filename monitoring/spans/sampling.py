"""Which turns are recorded: a share of each agent's, and all in debug mode.

The share is of the turns' ids, whose last digits are random, so every process decides alike without asking another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from monitoring.models import TraceSettings
from monitoring.models.turn_spans import DEFAULT_SAMPLE_PERCENT

# The last 32 bits of a UUIDv7 are random.
_ALL: Final = 1 << 32
_MASK: Final = _ALL - 1
NO_IDS: Final[frozenset[UUID]] = frozenset()


@dataclass(frozen=True, slots=True)
class DebugTargets:
    """Whose turns are all recorded at the moment."""

    session_ids: frozenset[UUID] = NO_IDS
    agent_ids: frozenset[UUID] = NO_IDS


DebugSource = Callable[[], DebugTargets]
_debug_sources: list[DebugSource] = []


def register_debug_source(source: DebugSource) -> None:
    """Add a function that reads from the database what is in debug mode now. It is called every few seconds."""
    _debug_sources.append(source)


class Sampling:
    """The decision of one process, as of the last `refresh`. `debug_sources` are by default those that are
    registered."""

    def __init__(self, debug_sources: Sequence[DebugSource] = _debug_sources) -> None:
        self._debug_sources = debug_sources
        self._default = _threshold(DEFAULT_SAMPLE_PERCENT)
        self._thresholds: Mapping[UUID, int] = {}
        self._debug = DebugTargets()

    def is_sampled(self, agent_id: UUID, session_id: UUID, turn_id: UUID) -> bool:
        """Whether spans of a turn are recorded."""
        if turn_id.int & _MASK < self._thresholds.get(agent_id, self._default):
            return True
        debug = self._debug
        return session_id in debug.session_ids or agent_id in debug.agent_ids

    def refresh(self) -> None:
        """Read the settings of all agents, and what is in debug mode. Raises database errors, and then nothing has
        changed."""
        rows = TraceSettings.objects.values_list("agent_id", "sample_percent")
        thresholds = {agent_id: _threshold(percent) for agent_id, percent in rows}
        targets = [source() for source in self._debug_sources]
        self._thresholds = thresholds
        self._debug = DebugTargets(
            NO_IDS.union(*(target.session_ids for target in targets)),
            NO_IDS.union(*(target.agent_ids for target in targets)),
        )


def _threshold(percent: int) -> int:
    return _ALL * percent // 100
