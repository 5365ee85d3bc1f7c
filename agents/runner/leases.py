"""Renew the leases of a runner, notice lost ones, report the runner's heartbeat, run the reaper.

These are threads, not tasks: a busy event loop must not cost a lease. One that stands still does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from uuid import UUID

import structlog
from django.db import close_old_connections, connection

from agents.journal import claims
from agents.models.runners import HeartbeatReply, send_heartbeat
from agents.runner.budget_waker import settle_budgets
from agents.runner.handoff_timers import run_handoff_timers
from agents.runner.liveness import Liveness
from agents.runner.reaper import reap
from agents.runner.waker import wake_turns
from foundation.db_threads import DATABASE_FAULTS

log = structlog.get_logger(__name__)

REAP_SECONDS = 1.0
# People do not notice a few seconds: the timers of handoffs run with every third pass of the reaper.
HANDOFF_PASSES = 3
LIVENESS_SECONDS = 1.0


class Periodic(threading.Thread):
    """Calls `work` every `interval_seconds` with a database connection of its own; exceptions are logged."""

    def __init__(self, *, name: str, interval_seconds: float, work: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._interval_seconds = interval_seconds
        self._work = work
        self._stop_event = threading.Event()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        self._stop_event.set()
        self.join(timeout_seconds)

    def run(self) -> None:
        while not self._stop_event.wait(self._interval_seconds):
            try:
                self._work()
            except DATABASE_FAULTS as error:
                log.warning("database.lost", worker=self.name, error=str(error)[:200])
                connection.close()
            except Exception:
                log.exception("periodic_work.failed", worker=self.name)
            finally:
                close_old_connections()


class LeaseKeeper:
    """Renews the leases of the turns that `get_turns` returns (epochs by turn id), and calls `on_lost` with those that
    this runner no longer owns, `on_heartbeat` with what the heartbeat returned, and `release_work` every so often: all
    in its threads."""

    def __init__(
        self,
        *,
        runner_id: UUID,
        lease_seconds: float,
        heartbeat_seconds: float,
        liveness: Liveness,
        get_turns: Callable[[], dict[UUID, int]],
        on_lost: Callable[[Mapping[UUID, int]], object],
        on_heartbeat: Callable[[HeartbeatReply], object],
        release_work: Callable[[], object],
        release_work_seconds: float,
    ) -> None:
        self._runner_id = runner_id
        self._lease_seconds = lease_seconds
        self._liveness = liveness
        self._get_turns = get_turns
        self._on_lost = on_lost
        self._on_heartbeat = on_heartbeat
        self._renewed_at = time.monotonic()
        self._passes = 0
        # The renewal must not wait for the reaper, nor the reaper for a slow renewal.
        self._threads = [
            Periodic(name="leases", interval_seconds=heartbeat_seconds, work=self._renew),
            Periodic(name="watch", interval_seconds=REAP_SECONDS, work=self._watch),
            Periodic(name="reaper", interval_seconds=REAP_SECONDS, work=self._reap),
            Periodic(name="releases", interval_seconds=release_work_seconds, work=release_work),
            Periodic(name="liveness", interval_seconds=LIVENESS_SECONDS, work=liveness.check),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        for thread in self._threads:
            thread.stop()

    def _renew(self) -> None:
        if self._liveness.is_stalled:
            # Nobody works on these turns: others should take them.
            return
        turns = self._get_turns()
        started_at = time.monotonic()
        renewed = claims.renew(runner_id=self._runner_id, turns=turns, lease_seconds=self._lease_seconds)
        self._renewed_at = started_at
        if lost_turns := {turn: epoch for turn, epoch in turns.items() if renewed.get(turn) != epoch}:
            # A turn that has just ended looks the same; the caller no longer runs it and ignores it.
            self._on_lost(lost_turns)
        self._on_heartbeat(send_heartbeat(self._runner_id, running=len(turns)))

    def _reap(self) -> None:
        self._passes += 1
        try:
            reap()
            if self._passes % HANDOFF_PASSES == 0:
                run_handoff_timers()
        finally:
            wake_turns(self._runner_id)
            settle_budgets(self._runner_id)

    def _watch(self) -> None:
        """When no renewal has succeeded for the length of a lease, by the local clock, other runners may own the
        turns."""
        if time.monotonic() - self._renewed_at > self._lease_seconds and (turns := self._get_turns()):
            log.error("lease.expired", turns=len(turns))
            self._on_lost(turns)
