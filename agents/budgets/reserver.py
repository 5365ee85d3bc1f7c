"""Reservations of one event loop: all that ask while a statement is under way go into the next one together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog

from agents.budgets.budget_index import BudgetIndex
from agents.budgets.reservations import BudgetRequest, PassResult, Refused, Reply, Reserved, settle_and_reserve
from foundation.db_threads import in_db_thread

log = structlog.get_logger(__name__)

# What one statement handles; others follow at once.
BATCH = 100


class BudgetReserver:
    """Reserves money for the calls of this process. `on_wake` gets (session, turn) that may go on."""

    def __init__(self, index: BudgetIndex, *, on_wake: Callable[[Sequence[tuple[UUID, UUID]]], None]) -> None:
        self._index = index
        self._on_wake = on_wake
        self._asking: list[tuple[BudgetRequest, asyncio.Future[Reply]]] = []
        self._releases: list[int] = []
        self._settles = False
        self._task: asyncio.Task[None] | None = None

    def applies(self, *, user_id: int, agent_id: UUID | None) -> bool:
        """Whether a call must be reserved for; costs nothing."""
        return self._index.applies(user_id=user_id, agent_id=agent_id)

    async def reserve(self, request: BudgetRequest) -> Reply:
        """What becomes of `request`. Raises database errors. A caller that is cancelled gives back what it gets."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asking.append((request, future))
        self._start()
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._give_back)
            raise

    def release(self, reservation_id: int) -> None:
        """Give back a reservation whose call was certainly not made, soon."""
        self._releases.append(reservation_id)
        self._start()

    def note_outcome(self) -> None:
        """An outcome that names a reservation is committed: turns that wait for money may go on, soon."""
        if self._index.has_waiting:
            self._settles = True
            self._start()

    async def aclose(self) -> None:
        """Wait for the statement that is under way, and for those that were asked for."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=5)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="budgets")

    async def _run(self) -> None:
        while self._asking or self._releases or self._settles:
            batch, self._asking = self._asking[:BATCH], self._asking[BATCH:]
            releases, self._releases, self._settles = self._releases, [], False
            try:
                result = await in_db_thread(settle_and_reserve, [request for request, _ in batch], releases)
            except Exception as error:
                # Whatever it is: no call may be left waiting for its reply, and none is made without one.
                log.warning("budgets.not_reserved", error=str(error)[:200], calls=len(batch))
                for _, future in batch:
                    _fail(future, error)
                continue
            self._take(result, [future for _, future in batch])

    def _take(self, result: PassResult, futures: Sequence[asyncio.Future[Reply]]) -> None:
        self._index.has_waiting = result.has_waiting
        if result.overdrawn:
            log.error("budget.overdrawn", budgets=result.overdrawn)
        for future, reply in zip(futures, result.replies, strict=True):
            if isinstance(reply, Refused):
                log.warning("budget.refused", reason=reply.reason, budget=str(reply.budget_id))
            if not future.done():
                future.set_result(reply)
        if result.wake:
            self._on_wake(result.wake)

    def _give_back(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            reply = future.result()
            if isinstance(reply, Reserved) and reply.id is not None:
                self.release(reply.id)


def _fail(future: asyncio.Future[Reply], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        # Nobody may be left to read it.
        future.exception()
