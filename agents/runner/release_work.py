"""What runners do for deployments and evaluations beside their turns, in a thread of its own.

While there is none of it, each pass is one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from agents.deployments.controller import control_deployments
from agents.deployments.session_moves import move_sessions
from agents.journal.queries import fetch

PASS_SECONDS: Final = 1.0

_LOOK = """
SELECT EXISTS (SELECT FROM agents_deployment WHERE state NOT IN ('done', 'rolled_back', 'cancelled')),
       EXISTS (SELECT FROM agents_withdrawnrelease WHERE moved_at IS NULL),
       EXISTS (SELECT FROM agents_evaluationrun WHERE state = 'running')
"""
# By the column of the statement; each takes its own advisory lock, so that one runner at a time does it.
_WORK: Final[Mapping[int, Callable[[], object]]] = {0: control_deployments, 1: move_sessions}


def do_release_work() -> None:
    """One pass. Raises database errors."""
    [row] = fetch(_LOOK, {})
    for column, work in _WORK.items():
        if row[column]:
            work()
