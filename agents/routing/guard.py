"""What one process knows of the routes: which may be asked now, and what its calls have shown.

A healthy route costs nothing: no statement, no thread. Outcomes are counted in memory, and written with failures and
with moves of the breaker; successes only while the row shows trouble. What others have written is learned by NOTIFY on
the listening connection of the process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
import structlog

from agents.domain.circuit_breaker import (
    BreakerState,
    Verdict,
    begin_probe,
    block,
    count_outcomes,
    pass_probe,
    release_probe,
)
from agents.domain.failures import ErrorClass, Recovery, parse_error_class
from agents.domain.rate_limits import RateLimits, pace
from agents.domain.states import Priority
from agents.domain.usage import costs_nothing
from agents.routing.admissions import CallAdmission, ProbeAdmission, UncountedAdmission
from agents.routing.guard_settings import GuardSettings, RouteFigures
from agents.routing.route_entry import CallError, RouteEntry
from agents.routing.route_rows import (
    ROUTES_CHANNEL,
    Move,
    RouteKey,
    RouteRow,
    move_route,
    read_routes,
    reserve_call,
    use_route,
)
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from foundation.ids import new_id
from foundation.pg_listener import Wake

T = TypeVar("T")

log = structlog.get_logger(__name__)

# How long successes of a route with trouble are gathered before they are written.
FLUSH_SECONDS: Final = 0.5
# A probe's lease is so much longer than its deadline.
LEASE_MARGIN_SECONDS: Final = 5.0
# A block that is longer by less than this is not written again.
_BLOCK_TOLERANCE_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
# Errors that are about the model and not about the credential, although their class is that of credentials.
_NO_RIGHT_TO_MODEL = 403


class ProcessRouteGuard:
    """The guard of one event loop; implements the engine's `RouteGuard`. `credentials` are the fingerprints of this
    process's credentials by provider.

    Whoever owns the listening connection calls `hear` after each of its wake-ups, from its thread, before turns are
    started. The offline model has no upstream and is never guarded.
    """

    channel = ROUTES_CHANNEL

    def __init__(
        self,
        credentials: Mapping[str, str],
        settings: GuardSettings | None = None,
        *,
        figures: Callable[[str], RouteFigures] = lambda _route: RouteFigures(),
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.id = new_id()
        self._credentials = dict(credentials)
        self._settings = settings or GuardSettings()
        self._figures = figures
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._entries: dict[str, RouteEntry] = {}
        # All rows that were read, also those of routes that this process has not asked, and those without a model.
        self._rows: dict[RouteKey, RouteRow] = {}
        # The database's clock less this process's monotonic one.
        self._clock_offset = time.time() - time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()
        # Read by the listening thread.
        self._has_trouble = False
        self._connection: psycopg.Connection | None = None

    # --- the engine's port ---

    async def enter(
        self, route: str, priority: Priority = Priority.INTERACTIVE
    ) -> CallAdmission | ProbeAdmission | UncountedAdmission | None:
        """The right to ask `route` once; None when it must not be asked now. Waits up to `max_pace_seconds` where calls
        are spaced, or up to `background_pace_seconds` for `Priority.BACKGROUND`."""
        entry = self._entries.get(route) or self._begin_use(route)
        if entry is None:
            return UncountedAdmission()
        if entry.is_plain:
            return CallAdmission(self, entry)
        return await self._enter_with_trouble(entry, priority)

    def blocked_until(self, route: str) -> datetime | None:
        """When a route that must not be asked may be asked again, by the database's clock; None when it may be asked
        now."""
        entry = self._entries.get(route) or self._begin_use(route)
        if entry is None or entry.is_plain:
            return None
        now = self.now()
        credential = self._credential_row(entry).breaker
        ends = (credential.refused_until(now), entry.row.breaker.refused_until(now), entry.place_at)
        return max((end for end in ends if end is not None and end > now), default=None)

    def blocked_by(self, route: str) -> ErrorClass | None:
        """The class of the errors for which `route` must not be asked; None when it may be, or nobody knows."""
        entry = self._entries.get(route)
        if entry is None or entry.is_plain:
            return None
        now = self.now()
        if self._credential_row(entry).breaker.refused_until(now) is not None:
            return ErrorClass.AUTH
        breaker = entry.row.breaker
        if breaker.refused_until(now) is None:
            return ErrorClass.RATE_LIMIT if entry.place_at is not None and entry.place_at > now else None
        # The last error may be an old one: only a block is written with its own.
        if breaker.blocked_until is not None and breaker.blocked_until > now:
            return parse_error_class(entry.row.last_error.partition(":")[0])
        return None if breaker.is_forced(now) else ErrorClass.TRANSIENT

    async def aclose(self) -> None:
        """Write what is not written of routes with trouble, and wait for all writes."""
        for entry in self._entries.values():
            if entry.timer is not None:
                entry.timer.cancel()
                self._start_write(entry)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)

    # --- the listening thread ---

    def hear(self, connection: psycopg.Connection, wake: Wake) -> None:
        """Read the rows if one was changed, if some show trouble and a second has passed, or on a new connection: notes
        may have been missed before it."""
        is_new = connection is not self._connection
        is_changed = any(channel == ROUTES_CHANNEL for channel, _ in wake.payloads)
        if is_new or is_changed or (wake.polled and self._has_trouble):
            try:
                rows, at = read_routes(set(self._credentials.values()), on=connection)
            except psycopg.OperationalError:
                raise
            except psycopg.Error:
                # Turns are run all the same.
                log.exception("route.not_loaded")
                return
            self._connection = connection
            self._loop.call_soon_threadsafe(self._take_rows, rows, at.timestamp() - time.monotonic())

    # --- what admissions report ---

    def now(self) -> datetime:
        """The database's time, as far as this process knows it."""
        return datetime.fromtimestamp(self._clock_offset + time.monotonic(), UTC)

    def count_success(self, entry: RouteEntry, generation: int, *, slow: bool) -> None:
        """An ordinary call has its answer. In memory, unless the route has trouble."""
        breaker = entry.row.breaker
        if generation != breaker.generation:
            return
        seconds = self._clock_offset + time.monotonic()
        entry.tally.count_success(seconds, slow=slow, ends_row=breaker.failures_in_row > 0)
        if slow or entry.has_trouble:
            self._write_soon(entry)

    async def count_failure(self, entry: RouteEntry, generation: int, error: CallError, *, slow: bool) -> None:
        """A call has failed; returns when that is written."""
        await self._respect(entry, error)
        if not error.error_class.failure.charges_breaker or generation != entry.row.breaker.generation:
            return
        entry.tally.count_failure(self._clock_offset + time.monotonic(), slow=slow)
        entry.error = error
        await self._finish(self._write(entry), "route outcomes")

    async def pass_probe(self, entry: RouteEntry, generation: int) -> None:
        """A probe had its first token."""
        policy = self._settings.breaker

        def move(row: RouteRow, _: datetime) -> RouteRow:
            return replace(row, breaker=pass_probe(row.breaker, generation, policy))

        await self._finish(self._move(entry.key, move), "route probe")

    async def release_probe(self, entry: RouteEntry, generation: int) -> None:
        """A probe has ended and says nothing."""

        def move(row: RouteRow, _: datetime) -> RouteRow:
            return replace(row, breaker=release_probe(row.breaker, generation))

        await self._finish(self._move(entry.key, move), "route probe")

    async def fail_probe(self, entry: RouteEntry, generation: int, error: CallError) -> None:
        """A probe has failed, or has met an error that its route is not to blame for."""
        if error.error_class.failure.charges_breaker:
            await self.count_failure(entry, generation, error, slow=False)
            return
        await self._respect(entry, error)
        await self.release_probe(entry, generation)

    def take_limits(self, entry: RouteEntry, limits: RateLimits) -> None:
        """What an answer says of its provider's limits: of interest if little remains, or if little did before."""
        share = self._settings.reserve_share
        if share <= 0:
            return
        if entry.row.is_paced(self.now()):
            # Spaced until twice as much remains as where it began: answers come in any order.
            is_news = pace(limits, reserve_share=share) is not None or pace(limits, reserve_share=2 * share) is None
        else:
            is_news = pace(limits, reserve_share=share) is not None
        if is_news:
            entry.limits = limits
            # The next call of this process waits for the write, and then for its place.
            entry.is_plain = False
            entry.pacing = self._start(self._write(entry), "route limits")

    # --- the way in where there is trouble ---

    async def _enter_with_trouble(self, entry: RouteEntry, priority: Priority) -> CallAdmission | ProbeAdmission | None:
        if entry.pacing is not None and not entry.pacing.done():
            await asyncio.shield(entry.pacing)
        now = self.now()
        if self._credential_row(entry).breaker.judge(now) is Verdict.REFUSE:
            return None
        match entry.row.breaker.judge(now):
            case Verdict.REFUSE:
                return None
            case Verdict.PROBE:
                return await self._begin_probe(entry)
            case Verdict.ADMIT:
                if entry.row.is_paced(now) and not await self._wait_for_pace(entry, priority):
                    return None
                return CallAdmission(self, entry) if entry.row.breaker.judge(self.now()) is Verdict.ADMIT else None

    async def _begin_probe(self, entry: RouteEntry) -> ProbeAdmission | None:
        if entry.is_probing:
            return None
        entry.is_probing = True
        seconds = entry.figures.probe_deadline(entry.row.breaker.opens_in_row)
        task = self._start(self._lease_probe(entry, seconds), "route probe")
        try:
            generation = await asyncio.shield(task)
        except asyncio.CancelledError:
            # The lease may be taken all the same, and nobody would ask.
            task.add_done_callback(partial(self._give_back_probe, entry))
            raise
        finally:
            entry.is_probing = False
        return ProbeAdmission(self, entry, generation, seconds) if generation is not None else None

    async def _lease_probe(self, entry: RouteEntry, seconds: float) -> int | None:
        """The generation of this process's probe, which lasts `seconds`; None when another one is under way."""
        lease_seconds = seconds + LEASE_MARGIN_SECONDS
        generation: int | None = None

        def move(row: RouteRow, now: datetime) -> RouteRow:
            nonlocal generation
            breaker = begin_probe(row.breaker, now, lease_seconds=lease_seconds)
            generation = breaker.generation if breaker is not None else None
            return replace(row, breaker=breaker, probe_owner=self.id) if breaker is not None else row

        if await self._move(entry.key, move) is None or generation is None:
            return None
        log.info("route.probed", route=entry.route, generation=generation)
        return generation

    def _give_back_probe(self, entry: RouteEntry, task: asyncio.Task[int | None]) -> None:
        if not task.cancelled() and task.exception() is None and (generation := task.result()) is not None:
            self._start(self.release_probe(entry, generation), "route probe")

    async def _wait_for_pace(self, entry: RouteEntry, priority: Priority) -> bool:
        """Wait until the next call may be made; False when that takes too long."""
        assert entry.row.id is not None, "a row that is paced exists"
        limit = self._settings.max_pace_seconds
        if priority is Priority.BACKGROUND:
            limit = min(limit, self._settings.background_pace_seconds)
        try:
            seconds, is_reserved = await in_db_thread(reserve_call, entry.row.id, max_seconds=limit)
        except DATABASE_FAULTS:
            return True
        if not is_reserved:
            entry.place_at = self.now() + timedelta(seconds=seconds)
            return False
        entry.place_at = None
        await asyncio.sleep(seconds)
        return True

    # --- writes ---

    async def _respect(self, entry: RouteEntry, error: CallError) -> None:
        """Leave a route or its credential alone where its provider wants that."""
        if error.error_class.failure.recovery is Recovery.REST_CREDENTIAL:
            key = entry.key if error.status == _NO_RIGHT_TO_MODEL else entry.key._replace(model="")
            log.error("credential.refused", route=entry.route, status=error.status, message=error.provider_detail)
            await self._block(key, self._settings.credential_seconds, error)
        elif error.error_class is ErrorClass.RATE_LIMIT and error.retry_after_seconds:
            await self._block(entry.key, error.retry_after_seconds, error)

    async def _block(self, key: RouteKey, seconds: float, error: CallError) -> None:
        blocked_until = self._row(key).breaker.blocked_until
        enough = self.now() + timedelta(seconds=seconds - _BLOCK_TOLERANCE_SECONDS)
        if blocked_until is not None and blocked_until > enough:
            return

        def move(row: RouteRow, now: datetime) -> RouteRow:
            breaker = block(row.breaker, now + timedelta(seconds=seconds))
            return row if breaker is row.breaker else _with_error(replace(row, breaker=breaker), error, now)

        await self._finish(self._move(key, move), "route block")

    def _write_soon(self, entry: RouteEntry) -> None:
        if entry.timer is None:
            entry.timer = self._loop.call_later(FLUSH_SECONDS, self._start_write, entry)

    def _start_write(self, entry: RouteEntry) -> None:
        entry.timer = None
        self._start(self._write(entry), "route outcomes")

    async def _write(self, entry: RouteEntry) -> None:
        """Write what was counted and said; one write of a route at a time takes all there is by then."""
        async with entry.lock:
            if not entry.tally and entry.limits is None:
                return
            outcomes = entry.tally.take(entry.row.breaker.generation)
            limits, error, entry.limits, entry.error = entry.limits, entry.error, None, None
            policy, chance = self._settings.breaker, self._draw()

            def move(row: RouteRow, now: datetime) -> RouteRow:
                breaker = count_outcomes(row.breaker, outcomes, now, policy, chance=chance)
                if breaker is not row.breaker and error is not None:
                    row = _with_error(row, error, now)
                row = replace(row, breaker=breaker)
                return self._with_pace(row, limits, now) if limits is not None else row

            if await self._move(entry.key, move) is None:
                entry.tally.restore(outcomes)

    def _with_pace(self, row: RouteRow, limits: RateLimits, now: datetime) -> RouteRow:
        report = {**limits.dump(), "at": now.isoformat()}
        needed = pace(limits, reserve_share=self._settings.reserve_share)
        if needed is None:
            return replace(row, rate_limits=report, pace_seconds=None, paced_until=None, next_call_at=None)
        if needed.is_pause:
            # Calls that wait for their place look at this again.
            breaker = block(row.breaker, now + timedelta(seconds=needed.seconds))
            if breaker is not row.breaker:
                said = f"{ErrorClass.RATE_LIMIT}: its provider says that nothing remains"
                row = replace(row, breaker=breaker, last_error=said, last_error_at=now)
        return replace(
            row,
            rate_limits=report,
            pace_seconds=needed.interval_seconds,
            paced_until=now + timedelta(seconds=needed.seconds),
            next_call_at=now + timedelta(seconds=needed.interval_seconds),
        )

    async def _move(self, key: RouteKey, move: Move) -> RouteRow | None:
        """Write a move; the row as it is then. None, and a line in the log, when the database cannot be reached."""
        try:
            row, now = await in_db_thread(move_route, key, move)
        except (*DATABASE_FAULTS, RuntimeError) as error:
            log.warning("route.not_written", route=f"{key.provider}:{key.model}", error=str(error)[:200])
            return None
        self._take_rows([row], now.timestamp() - time.monotonic())
        return row

    # --- rows ---

    def _begin_use(self, route: str) -> RouteEntry | None:
        """The entry of a route that is asked for the first time; None for one that is not guarded."""
        provider, _, model = route.partition(":")
        credential = self._credentials.get(provider)
        if credential is None or costs_nothing(route):
            return None
        key = RouteKey(provider, model, credential)
        entry = RouteEntry(route, self._row(key), self._figures(route), self._settings.breaker)
        self._entries[route] = entry
        self._judge(entry, self.now())
        self._start(self._use(key), "route use")
        return entry

    async def _use(self, key: RouteKey) -> None:
        try:
            await in_db_thread(use_route, key)
        except DATABASE_FAULTS as error:
            log.warning("route.not_written", route=f"{key.provider}:{key.model}", error=str(error)[:200])

    def _take_rows(self, rows: Iterable[RouteRow], clock_offset: float) -> None:
        self._clock_offset = clock_offset
        for row in rows:
            # An older one may arrive later: it was read by another thread.
            if _version(row) >= _version(self._row(row.key)):
                self._rows[row.key] = row
        now = self.now()
        for entry in self._entries.values():
            old, entry.row = entry.row, self._row(entry.key)
            if entry.row.breaker.generation != old.breaker.generation:
                entry.tally.clear()
                _log_move(entry, old.breaker.state)
            self._judge(entry, now)
            if entry.tally and entry.has_trouble:
                # The others have to know of the calls that went well.
                self._write_soon(entry)
        self._has_trouble = any(
            row.is_paced(now) or row.breaker.has_trouble(now, self._settings.breaker) for row in self._rows.values()
        )

    def _judge(self, entry: RouteEntry, now: datetime) -> None:
        breaker = entry.row.breaker
        entry.has_trouble = breaker.has_trouble(now, self._settings.breaker)
        entry.is_plain = (
            breaker.state is BreakerState.CLOSED
            and breaker.judge(now) is Verdict.ADMIT
            and not entry.row.is_paced(now)
            and self._credential_row(entry).breaker.judge(now) is Verdict.ADMIT
        )

    def _row(self, key: RouteKey) -> RouteRow:
        return self._rows.get(key) or RouteRow(key=key)

    def _credential_row(self, entry: RouteEntry) -> RouteRow:
        return self._row(entry.key._replace(model=""))

    # --- tasks ---

    def _start(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _finish(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Do `work`, to its end also if the caller is cancelled."""
        await asyncio.shield(self._start(work, name))


def _version(row: RouteRow) -> tuple[int, int]:
    """Of two versions of a row the greater one is newer, also if it was deleted between."""
    return (row.id or 0, row.revision)


def _with_error(row: RouteRow, error: CallError, now: datetime) -> RouteRow:
    said = error.provider_detail or error.detail
    status = f"{error.status} " if error.status is not None else ""
    return replace(row, last_error=f"{error.error_class}: {status}{said}", last_error_at=now)


def _log_move(entry: RouteEntry, old: BreakerState) -> None:
    breaker = entry.row.breaker
    if breaker.state is BreakerState.OPEN:
        log.warning("route.opened", route=entry.route, until=str(breaker.open_until), error=entry.row.last_error)
    elif breaker.state is BreakerState.CLOSED and old is not BreakerState.CLOSED:
        log.info("route.closed", route=entry.route)
