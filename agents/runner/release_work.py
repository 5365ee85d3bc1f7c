"""What runners do for deployments and evaluations beside their turns, in a thread of its own.

While there is none of it, each pass is one statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from agents.deployments.controller import control_deployments
from agents.deployments.session_moves import move_sessions
from agents.engine.answer_judging import judge_result, take_unjudged
from agents.engine.ports import Services
from agents.evaluations.evaluation_work import work_on_evaluations
from agents.journal.queries import fetch
from foundation.db_threads import DATABASE_FAULTS

log = structlog.get_logger(__name__)

# Judgements of one process at a time.
JUDGEMENTS: Final = 4

_LOOK: Final = """
SELECT EXISTS (SELECT FROM agents_deployment WHERE state NOT IN ('done', 'rolled_back', 'cancelled')),
       EXISTS (SELECT FROM agents_withdrawnrelease WHERE moved_at IS NULL),
       EXISTS (SELECT FROM agents_evaluationrun WHERE state = 'running')
           OR EXISTS (SELECT FROM agents_evaluationresult WHERE status = 'running')
"""


class ReleaseWork:
    """The passes of one runner. All but judging is done in the thread that calls `do_pass`; models are asked in the
    event loop of `services`, by `start`."""

    def __init__(self, services: Services, start: Callable[[Coroutine[Any, Any, None], str], None]) -> None:
        self._services = services
        self._start = start
        self._loop = asyncio.get_running_loop()
        # Their results by id, since a thread adds to them what the loop takes out.
        self._judging: set[int] = set()

    def do_pass(self) -> None:
        """One pass; whatever it is, one process at a time does it. Raises database errors."""
        [(has_deployments, has_withdrawn, has_evaluations)] = fetch(_LOOK, {})
        if has_withdrawn:
            move_sessions()
        if has_deployments:
            control_deployments()
        if has_evaluations:
            work_on_evaluations()
            for key in take_unjudged(JUDGEMENTS - len(self._judging)):
                self._judging.add(key)
                self._loop.call_soon_threadsafe(self._start, self._judge(key), f"judge {key}")

    async def _judge(self, key: int) -> None:
        try:
            await judge_result(self._services, key)
        except DATABASE_FAULTS as error:
            log.warning("judgement.not_stored", result=key, error=str(error)[:200])
        finally:
            self._judging.discard(key)
