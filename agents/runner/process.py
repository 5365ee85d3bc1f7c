"""A runner: claims turns when it is notified, runs them concurrently, and ends or requeues all of them before it
stops."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import structlog

from agents.domain.configuration import NewerConfiguration
from agents.domain.failures import ErrorClass
from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import TurnStatus
from agents.engine.context import TurnContext, load_context
from agents.engine.fact_extraction import extract_facts
from agents.engine.memory_writer import MemoryWriter
from agents.engine.ports import Services
from agents.engine.recorded_world import enter_recorded_world, read_recording
from agents.engine.session_titles import title_session, wants_title
from agents.engine.summary_writer import summarise_history, wants_summary
from agents.engine.turn import StopReason, TurnRun, UnfinishedTurn
from agents.journal import claims, sql
from agents.journal.fenced_writes import FinishedTurn, LostTurn
from agents.journal.listen_connection import open_listen_connection
from agents.models import Runner
from agents.models.runners import HeartbeatReply, RequestedAction, finish_action, send_heartbeat, start_action
from agents.runner.leases import LeaseKeeper
from agents.runner.liveness import Liveness
from agents.runner.memory_cleanup import free_memory
from agents.runner.reaper import fail_claim, release_claim
from agents.runner.release_work import ReleaseWork
from agents.runner.turn_counters import TurnCounters
from agents.sessions.turn_episodes import uses_memory
from foundation.clock import now
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from foundation.errors import InvalidInput
from foundation.ids import new_id
from foundation.pg_listener import ListeningThread, RowListener, Wake
from foundation.spans import CONTEXT

log = structlog.get_logger(__name__)

# How long a turn whose release needs a newer version is held before it is requeued: without a pause this process would
# claim it again at once.
_NEWER_RELEASE_PAUSE_SECONDS = 3.0
# How often claims look for turns of the background that have waited for long.
_CLAIM_BY_AGE_SECONDS = 1.0
# A loop that was busy for a lease may have been busy with many turns; after two it is taken for stuck.
_LEASES_UNTIL_STALLED = 2
_ERRORS = frozenset({TurnStatus.FAILED, TurnStatus.EXPIRED})


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """`concurrency` is the number of turns of this runner at a time, `running_per_user` that of a user on all
    runners. `liveness_file` is touched each second while the runner works; deployments and evaluations are looked at
    every `release_work_seconds`."""

    concurrency: int
    running_per_user: int
    lease_seconds: float
    heartbeat_seconds: float
    drain_seconds: float
    liveness_file: Path | None = None
    release_work_seconds: float = 1.0


class RunnerProcess:
    """One per process. `serve` works until `drain` was called and every turn has ended or was requeued."""

    def __init__(self, settings: RunnerSettings, services: Services, *, listeners: Sequence[RowListener] = ()) -> None:
        self.id = new_id()
        self._settings = settings
        self._services = services
        self._loop = asyncio.get_running_loop()
        # The epochs of claimed turns. Written by the claiming thread before the event loop gets a turn, so that its
        # lease is renewed from then on.
        self._epochs: dict[UUID, int] = {}
        self._runs: dict[UUID, TurnRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What follows the end of turns, and is dropped when the runner ends.
        self._side_work: set[asyncio.Task[None]] = set()
        self._memory_writer = MemoryWriter(self._start_side_work)
        self._claimed_by_age_at = 0.0
        self._draining = asyncio.Event()
        self._counters = TurnCounters()
        self._claim_limit = settings.concurrency
        # Actions by their ids, so that none is done twice.
        self._actions: set[UUID] = set()
        self._restart_id: UUID | None = None
        self._listeners = listeners
        self._claimer = ListeningThread(
            name="claimer",
            channels=[sql.TURNS_CHANNEL, *(listener.channel for listener in listeners)],
            connect=open_listen_connection,
            work=self._hear,
        )
        self._liveness = Liveness(
            self._loop,
            file=settings.liveness_file,
            stalled_seconds=_LEASES_UNTIL_STALLED * settings.lease_seconds,
        )
        self._keeper = LeaseKeeper(
            runner_id=self.id,
            lease_seconds=settings.lease_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            liveness=self._liveness,
            get_turns=lambda: dict(self._epochs),
            on_lost=self._on_leases_lost,
            on_heartbeat=self._on_heartbeat,
            release_work=ReleaseWork(services, self._start_side_work).do_pass,
            release_work_seconds=settings.release_work_seconds,
        )

    def figures(self) -> dict[str, Any]:
        """The figures of this process now: its `status`, its `running` turns (each of another session) and its
        `capacity`, and what it counted since its start."""
        status = "draining" if self._draining.is_set() else "blocked" if self._liveness.is_blocked else "running"
        running = len(self._epochs)
        return {
            "status": status,
            "active_sessions": running,
            "running": running,
            "capacity": self._settings.concurrency,
            "claim_limit": self._claim_limit,
            "side_work": len(self._side_work),
            **self._counters.figures(),
        }

    async def serve(self) -> None:
        """Register the runner, run turns, drain."""
        await in_db_thread(
            Runner.objects.create,
            id=self.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            capacity=self._settings.concurrency,
        )
        heartbeat = await in_db_thread(send_heartbeat, self.id, running=0)
        self._services.retry_budget.divide(heartbeat.alive)
        self._keeper.start()
        self._claimer.start()
        log.info("runner.started", runner=str(self.id), capacity=self._settings.concurrency)
        await self._draining.wait()
        await self._drain()
        self._keeper.stop()
        log.info("runner.stopped", runner=str(self.id))

    @property
    def restarts(self) -> bool:
        """Whether it drains because it is to be started anew."""
        return self._restart_id is not None

    def drain(self) -> None:
        """Claim nothing more; finish or requeue running turns. A second call requeues them at once."""
        if self._draining.is_set():
            self._stop_all(StopReason.DRAIN)
        self._draining.set()

    async def _drain(self) -> None:
        await asyncio.to_thread(self._claimer.stop)
        await self._report(Runner.Status.DRAINING)
        for task in self._side_work:
            task.cancel()
        # Part of the time is for requeuing and for the last commits.
        timeout = max(0.0, self._settings.drain_seconds - 3)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        self._stop_all(StopReason.DRAIN)
        if remaining := self._tasks | self._side_work:
            await asyncio.wait(remaining, timeout=3)
        await self._memory_writer.flush_hits()
        await self._report(Runner.Status.STOPPED)
        if self._restart_id is not None:
            with suppress(*DATABASE_FAULTS):
                await in_db_thread(
                    finish_action, self.id, self._restart_id, "It has ended; its supervisor starts anew."
                )

    async def _report(self, status: Runner.Status) -> None:
        try:
            await in_db_thread(Runner.objects.filter(pk=self.id).update, status=status)
        except DATABASE_FAULTS:
            log.warning("runner_status.not_stored", status=status)

    def _stop_all(self, reason: StopReason) -> None:
        for run in list(self._runs.values()):
            run.stop(reason)

    # --- the claiming thread ---

    def _hear(self, connection: psycopg.Connection, wake: Wake) -> None:
        # Before turns are claimed.
        for listener in self._listeners:
            listener.hear(connection, wake)
        self._claim_turns(connection, wake)

    def _claim_turns(self, connection: psycopg.Connection, wake: Wake) -> None:
        turn_ids = [UUID(payload[5:]) for _, payload in wake.payloads if payload.startswith("stop ")]
        if wake.polled and self._epochs:
            turn_ids += claims.cancelling_turns(list(self._epochs), on=connection)
        if turn_ids:
            self._loop.call_soon_threadsafe(self._stop_cancelled, turn_ids)
        free = self._claim_limit - len(self._epochs)
        if free <= 0 or self._draining.is_set() or self._liveness.is_blocked:
            return
        by_age = time.monotonic() - self._claimed_by_age_at >= _CLAIM_BY_AGE_SECONDS
        if by_age:
            self._claimed_by_age_at = time.monotonic()
        new_claims = claims.claim(
            runner_id=self.id,
            limit=free,
            running_per_user=self._settings.running_per_user,
            lease_seconds=self._settings.lease_seconds,
            by_age=by_age,
            on=connection,
        )
        self._epochs.update({claim.turn_id: claim.epoch for claim in new_claims})
        failure: Exception | None = None
        for claim in new_claims:
            started_at = now()
            try:
                context = load_context(claim, on=connection)
                if claim.purpose == SessionPurpose.EVALUATION:
                    context = enter_recorded_world(context, read_recording(claim.turn_id, on=connection))
            except (InvalidInput, NewerConfiguration) as error:
                log.warning(
                    "turn.not_loaded", turn=str(claim.turn_id), release=str(claim.release_id), fault=error.detail
                )
                self._loop.call_soon_threadsafe(self._start_return, claim, error)
            except Exception as error:
                # Whatever the error: a turn that is not run must not stay claimed, nor delay the others.
                failure = error
                self._loop.call_soon_threadsafe(self._start_return, claim, error)
            else:
                spans = self._services.spans.open_turn(context.agent_id, claim.session_id, claim.turn_id)
                spans.end(CONTEXT, started_at, bandstand__phase="read", bandstand__messages=len(context.history))
                self._loop.call_soon_threadsafe(self._start_turn, context)
        if failure is not None:
            raise failure

    # --- the event loop ---

    def _start_turn(self, context: TurnContext) -> None:
        run = TurnRun(context, self._services)
        self._runs[run.claim.turn_id] = run
        self._start_task(self._work(run, context), f"turn {run.claim.turn_id}")

    def _start_return(self, claim: claims.Claim, error: Exception) -> None:
        self._start_task(self._return_unloaded(claim, error), f"give back {claim.turn_id}")

    def _start_task(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remember(self, run: TurnRun, context: TurnContext, result: FinishedTurn) -> None:
        is_production = context.claim.purpose == SessionPurpose.PRODUCTION
        await self._memory_writer.remember(context, recalled=run.recalled if is_production else ())
        if not is_production:
            return
        if context.release.memory.extract and result.status is TurnStatus.COMPLETED and not self._draining.is_set():
            self._start_side_work(extract_facts(self._services, context), f"extract {context.claim.turn_id}")

    def _follow_turn(self, run: TurnRun, context: TurnContext, result: FinishedTurn) -> None:
        """Start what is done after a turn and nobody waits for. What was said is remembered even in a runner that
        ends."""
        if uses_memory(context.release):
            self._start_task(self._remember(run, context, result), f"remember {context.claim.turn_id}")
        if result.status is not TurnStatus.COMPLETED or self._draining.is_set():
            return
        session_id = context.claim.session_id
        if wants_title(context) and context.claim.purpose == SessionPurpose.PRODUCTION:
            self._start_side_work(title_session(self._services, context), f"title {session_id}")
        if wants_summary(context, run.left_out):
            work = summarise_history(self._services, context, run.left_out)
            self._start_side_work(work, f"summary {session_id}")

    def _start_side_work(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._side_work.add(task)
        task.add_done_callback(self._side_work.discard)

    def _count(self, run: TurnRun, started_at: float, *, is_error: bool) -> None:
        if run.claim.purpose != SessionPurpose.PRODUCTION:
            return
        seconds = self._loop.time() - started_at
        self._counters.count(seconds=seconds, is_error=is_error, context_percent=run.context_percent)

    async def _work(self, run: TurnRun, context: TurnContext) -> None:
        claim = run.claim
        claim_more = True
        started_at = self._loop.time()
        try:
            result = await run.run()
            if result is UnfinishedTurn.DRAINED:
                await self._requeue(claim, without_progress=False, untouched=run.untouched)
            elif isinstance(result, FinishedTurn):
                claim_more = result.open_turns > 0 or self._was_at_limit(claim.user_id)
                self._count(run, started_at, is_error=result.status in _ERRORS)
                self._follow_turn(run, context, result)
        except LostTurn:
            log.warning("turn.lost", turn=str(claim.turn_id), epoch=claim.epoch)
        except DATABASE_FAULTS as error:
            # Whether the last statement was committed is unknown, so this epoch must not write again.
            log.warning("database.lost", turn=str(claim.turn_id), error=str(error)[:200])
            await self._requeue(claim, without_progress=True)
        except Exception:
            log.exception("turn.crashed", turn=str(claim.turn_id), epoch=claim.epoch)
            self._count(run, started_at, is_error=True)
            await self._requeue(claim, without_progress=True)
        finally:
            if self._runs.get(claim.turn_id) is run:
                del self._runs[claim.turn_id]
            self._release(claim)
            if claim_more:
                self._claimer.nudge()

    def _was_at_limit(self, user_id: int) -> bool:
        """Whether a limit, the runner's or the user's, may have kept a turn in the queue that can be claimed now."""
        if len(self._epochs) >= self._claim_limit:
            return True
        running = sum(run.claim.user_id == user_id for run in self._runs.values())
        return running >= self._settings.running_per_user

    async def _return_unloaded(self, claim: claims.Claim, error: Exception) -> None:
        """End a turn that no version can run; requeue one that a newer version can run, or that met another error."""
        try:
            match error:
                case InvalidInput():
                    await self._fail(claim, ErrorClass.BAD_REQUEST, error.detail)
                case NewerConfiguration():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._draining.wait(), _NEWER_RELEASE_PAUSE_SECONDS)
                    await self._requeue(claim, without_progress=False, untouched=True)
                case _:
                    await self._requeue(claim, without_progress=True, untouched=True)
        finally:
            self._release(claim)

    def _release(self, claim: claims.Claim) -> None:
        # By epoch: the same turn may have been claimed again by this very runner.
        if self._epochs.get(claim.turn_id) == claim.epoch:
            del self._epochs[claim.turn_id]

    async def _requeue(self, claim: claims.Claim, *, without_progress: bool, untouched: bool = False) -> None:
        """Requeue a turn. `untouched`: this claim has tried nothing."""
        resumes = claim.resumed and untouched
        await self._write_for(claim, partial(release_claim, without_progress=without_progress, resumes=resumes))

    async def _fail(self, claim: claims.Claim, error_class: ErrorClass, detail: str) -> None:
        await self._write_for(
            claim, partial(fail_claim, error_class=error_class, error_detail=detail, resumes=claim.resumed)
        )

    async def _write_for(self, claim: claims.Claim, write: Callable[..., bool]) -> None:
        """Requeue or end a turn as soon as the database can be reached; after the length of a lease the reaper has
        requeued it."""
        deadline = self._loop.time() + self._settings.lease_seconds
        pause = 0.1
        while self._loop.time() < deadline:
            try:
                await in_db_thread(write, session_id=claim.session_id, turn_id=claim.turn_id, epoch=claim.epoch)
            except DATABASE_FAULTS:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                return

    def _stop_cancelled(self, turns: Collection[UUID]) -> None:
        for turn in turns:
            if (run := self._runs.get(turn)) is not None:
                run.stop(StopReason.CANCELLED)

    def _on_heartbeat(self, heartbeat: HeartbeatReply) -> None:
        """Take a part of the retry budget, which the runners that are alive divide among them; claim no more turns than
        the limit; begin what is to be done."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._services.retry_budget.divide, heartbeat.alive)
            self._set_claim_limit(heartbeat.claim_limit)
            if (action := heartbeat.action) is not None and action.id not in self._actions:
                self._actions.add(action.id)
                self._loop.call_soon_threadsafe(self._start_action, action)

    def _set_claim_limit(self, limit: int | None) -> None:
        capacity = self._settings.concurrency
        previous, self._claim_limit = self._claim_limit, capacity if limit is None else max(1, min(limit, capacity))
        if self._claim_limit != previous:
            log.warning("claim_limit.changed", runner=str(self.id), limit=self._claim_limit, capacity=capacity)
        if self._claim_limit > previous:
            self._claimer.nudge()

    def _start_action(self, action: RequestedAction) -> None:
        self._start_side_work(self._do(action), f"action {action.id}")

    async def _do(self, action: RequestedAction) -> None:
        """Do what somebody has requested, once: what has begun is written before, what came of it after."""
        try:
            if not await in_db_thread(start_action, self.id, action.id):
                return
        except DATABASE_FAULTS:
            # Whether it was written is unknown. If not, the next heartbeat brings it again.
            self._actions.discard(action.id)
            return
        log.warning("runner_action.started", runner=str(self.id), action=action.name)
        match action.name:
            case Runner.Action.FREE_MEMORY:
                outcome = await asyncio.to_thread(free_memory)
                with suppress(*DATABASE_FAULTS):
                    await in_db_thread(finish_action, self.id, action.id, outcome)
            case Runner.Action.RESTART:
                self._restart_id = action.id
                if not self._draining.is_set():  # a second call would end its turns at once
                    self.drain()

    def _on_leases_lost(self, turns: Mapping[UUID, int]) -> None:
        self._loop.call_soon_threadsafe(self._stop_lost, turns)

    def _stop_lost(self, turns: Mapping[UUID, int]) -> None:
        for turn, epoch in turns.items():
            # By epoch here too: this runner may have claimed a lost turn again.
            if (run := self._runs.get(turn)) is not None and run.claim.epoch == epoch:
                run.stop(StopReason.LOST)
