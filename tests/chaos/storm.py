"""The faults: several tracks side by side, each a row of faults in random order."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg

from agents.domain.states import MAX_ATTEMPTS_WITHOUT_PROGRESS
from agents.runner.exit_status import EXIT_RESTART
from foundation.ids import new_id
from tests.chaos.devices import Device, Tally
from tests.chaos.plan import Plan
from tests.chaos.points import BY_NAME, Point
from tests.chaos.program import Program
from tests.chaos.stack import DRAIN_SECONDS, Stack
from tests.chaos.waiting import NotSeen, until

REACHED_SECONDS = 45.0
TRIES = 6
GOOD_MOMENT_SECONDS = 2.0
TRACKS_OF_RUNNERS = 3
# One attempt less than the last: other faults than the random kills come by as well.
SPARED_FROM = MAX_ATTEMPTS_WITHOUT_PROGRESS - 1
ACKNOWLEDGED_BETWEEN = 20  # messages between two kills of PostgreSQL

Fault = Callable[[], Coroutine[Any, Any, None]]

_HELD = """
SELECT t.id::text, t.agent_session_id::text, t.epoch FROM agents_turn t JOIN agents_runner r ON r.id = t.runner_id
WHERE r.pid = %(pid)s AND r.started_at = (SELECT max(started_at) FROM agents_runner WHERE pid = %(pid)s)
  AND t.status IN ('running', 'cancelling')
"""
_BUSY = """
SELECT r.pid, max(t.attempts_without_progress) FROM agents_turn t JOIN agents_runner r ON r.id = t.runner_id
WHERE t.status IN ('running', 'cancelling') AND t.lease_expires_at > now()
GROUP BY r.pid
"""
_AT_WORK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'
"""
_TAKEN_OVER = """
SELECT t.status, t.epoch > h.epoch FROM unnest(%(turns)s::uuid[], %(epochs)s::int[]) AS h(id, epoch)
JOIN agents_turn t ON t.id = h.id
"""
_LIVES = """
SELECT heartbeat_at > now() - interval '1 second' FROM agents_runner WHERE pid = %(pid)s
ORDER BY started_at DESC LIMIT 1
"""
_STATUS = "SELECT status FROM agents_runner WHERE pid = %(pid)s ORDER BY started_at DESC LIMIT 1"
# Once for each id, so that it may be sent again after a restart of PostgreSQL.
_RESTART = (
    "UPDATE agents_runner SET action = 'restart', action_id = %(action)s, action_started_at = NULL,"
    " action_finished_at = NULL WHERE pid = %(pid)s AND status = 'running' AND action_id IS DISTINCT FROM %(action)s"
    " RETURNING 1"
)


@dataclass(frozen=True, slots=True)
class Held:
    """A turn that a runner owned when it was looked at."""

    turn: str
    session: str
    epoch: int


class Storm:
    """`done` and `critical` count faults by kind; `missed` says which could not be brought about."""

    def __init__(self, plan: Plan, stack: Stack, devices: Sequence[Device], tally: Tally, rng: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self.critical: Counter[str] = Counter()
        self.missed: list[str] = []
        self.ended_at = 0.0
        self._plan = plan
        self._stack = stack
        self._database = stack.database
        self._devices = devices
        self._tally = tally
        self._acknowledged = 0
        self._spared: set[int] = set()
        self._rng = rng

    async def run(self) -> None:
        """All faults of the plan; `ended_at` is the time of the last one."""
        self._tell("began")
        plan = self._plan
        points = [BY_NAME[name] for name in plan.points]
        of_runners: list[Fault] = [
            *[lambda p=p: self._reach(p) for p in points if p.role == "runner"],
            *[lambda name=name: self._pause_at(name) for name in plan.stops],
            *[self._pause] * plan.pauses,
            *[self._drain] * plan.drains,
            *[self._restart] * plan.restarts,
        ]
        of_others: list[Fault] = [
            *[lambda p=p: self._reach(p) for p in points if p.role != "runner"],
            *[self._kill_web] * plan.web_kills,
            *[self._kill_database] * plan.database_kills,
            *[self._drop] * plan.drops,
            *[self._cut] * plan.cuts,
        ]
        async with asyncio.TaskGroup() as group:
            self._rng.shuffle(of_runners)
            for first in range(TRACKS_OF_RUNNERS):
                group.create_task(self._track(of_runners[first::TRACKS_OF_RUNNERS]))
            group.create_task(self._track(of_others))
            group.create_task(self._kill_runners())

    async def _track(self, faults: list[Fault]) -> None:
        self._rng.shuffle(faults)
        for fault in faults:
            try:
                await fault()
            except NotSeen as error:
                self.missed.append(str(error))
                self._tell(f"NOT BROUGHT ABOUT: {error}")
            self.ended_at = time.monotonic()

    def _count(self, kind: str, critical: object) -> None:
        self.done[kind] += 1
        self.critical[kind] += bool(critical)
        self._tell(f"{kind}{', inside a critical section' if critical else ''}")

    def _tell(self, what: str) -> None:
        """A line for whoever has to find out what happened when, with the clock of the processes' logs."""
        with (self._stack.folder / "storm.log").open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {what}\n")

    # --- runners ---

    async def _kill_runners(self) -> None:
        """At random, but rather those that work. The pause between two kills is the weather."""
        slots = self._stack.runners
        for _ in range(self._plan.runner_kills):
            await asyncio.sleep(self._rng.uniform(*self._plan.kill_seconds))
            try:
                await until(self._enough_runners, seconds=REACHED_SECONDS, what="runners to kill one of")
            except NotSeen as error:
                self.missed.append(str(error))
            number = self._rng.choice(await until(self._victims, seconds=REACHED_SECONDS, what="a runner to kill"))
            slots[number].kill()
            self._count("runner killed", await self._held_now(slots[number]))
            slots[number] = self._stack.start_runner()
            self.ended_at = time.monotonic()

    def _enough_runners(self) -> bool:
        slots = self._stack.runners
        return sum(program.started for program in slots) >= len(slots) - 1

    async def _victims(self) -> list[int]:
        """Slots of runners that have turns, as soon as there is one; when that takes long, whoever there is."""
        try:
            return await until(self._busy_slots, seconds=GOOD_MOMENT_SECONDS, what="a runner with a turn")
        except NotSeen:
            return [number for number in range(len(self._stack.runners)) if number not in self._spared]

    async def _busy_slots(self) -> list[int]:
        try:
            attempts: dict[int, int] = dict(await self._database.rows(_BUSY))
        except psycopg.OperationalError:
            return []
        busy = {number: attempts[one.pid] for number, one in enumerate(self._stack.runners) if one.pid in attempts}
        spares = self._plan.spares_last_attempts
        self._spared = {number for number, most in busy.items() if spares and most >= SPARED_FROM}
        return [number for number in busy if number not in self._spared]

    async def _held_now(self, program: Program) -> list[Held]:
        """What a runner owns; nothing when PostgreSQL cannot be asked."""
        try:
            return [Held(*row) for row in await self._database.rows(_HELD, pid=program.pid)]
        except psycopg.OperationalError:
            return []

    async def _at_work(self, program: Program) -> list[Held]:
        """What a runner holds, as soon as it holds something; nothing when it has ended."""

        async def look() -> list[Held] | Literal["ended"] | None:
            return await self._held_now(program) or (None if program.alive else "ended")

        found = await until(look, seconds=REACHED_SECONDS, what=f"{program.name} with a turn in hand")
        return found if isinstance(found, list) else []

    async def _drain(self) -> None:
        program = await self._stack.started_runner()
        held = await self._at_work(program)
        program.ended_by_us = True
        program.signal(signal.SIGTERM)
        code = await program.gone(seconds=DRAIN_SECONDS + 6, why="after SIGTERM")
        if code != 0:
            self.missed.append(f"a runner that was told to end did so with {code}")
        self._count("runner drained", held)

    async def _restart(self) -> None:
        """By its row, as the performance monitor does."""
        program = await self._stack.started_runner()
        held = await self._at_work(program)
        program.ended_by_us = True
        await self._database.rows_soon(_RESTART, pid=program.pid, action=new_id())
        code = await program.gone(seconds=DRAIN_SECONDS + 16, why="after its heartbeat")
        if code != EXIT_RESTART:
            self.missed.append(f"a runner that was to restart ended with {code}")
        self._count("runner restarted by request", held)

    async def _pause(self) -> None:
        program = await self._stack.started_runner()
        try:
            await self._at_work(program)
            program.signal(signal.SIGSTOP)
            await until(lambda: program.stopped, seconds=5, what=f"{program.name} standing still")
            self._count("runner paused past its lease", await self._outlive(program))
        finally:
            program.kill()

    async def _pause_at(self, name: str) -> None:
        program = await self._stack.started_runner(stop_at=name)
        try:
            await until(lambda: program.stopped, seconds=REACHED_SECONDS, what=f"a pause at '{name}'")
            self._count("runner paused right before a write", await self._outlive(program))
        finally:
            program.kill()

    async def _outlive(self, program: Program) -> bool:
        """Let a paused runner go on when somebody else has its turn, and wait until it is at work again.

        Whether a turn that it took for its own was being run by somebody else in that moment.
        """
        held = [Held(*row) for row in await self._database.rows_soon(_HELD, pid=program.pid)]
        turns, epochs = [one.turn for one in held], [one.epoch for one in held]

        async def taken() -> list[str]:
            rows = await self._database.rows_soon(_TAKEN_OVER, turns=turns, epochs=epochs)
            if any(newer and status == "running" for status, newer in rows):
                return ["running"]
            return ["over"] if all(newer or status in _OVER for status, newer in rows) else []

        found = await until(taken, seconds=REACHED_SECONDS, what=f"somebody else with the turns of {program.name}")
        program.signal(signal.SIGCONT)
        await until(lambda: self._lives(program), seconds=REACHED_SECONDS, what=f"{program.name} at work again")
        return found == ["running"]

    async def _lives(self, program: Program) -> bool:
        """Whether a runner has just renewed its leases, and so knows which ones it lost."""
        rows = await self._database.rows_soon(_LIVES, pid=program.pid)
        return bool(rows and rows[0][0])

    # --- named points ---

    async def _reach(self, point: Point) -> None:
        for _ in range(TRIES):
            if await self._tried(point):
                self._count(f"point: {point.name}", True)
                return
        raise NotSeen(f"the point '{point.name}', in {TRIES} tries")

    async def _tried(self, point: Point) -> bool:
        """Whether a process died at the point."""
        if point.role == "web":
            return await self._tried_web(point)
        if point.role == "runner":
            program = await self._stack.started_runner(crash_at=point.name)
        else:
            program = self._stack.start_folder(crash_at=point.name)
        program.ended_by_us = True
        try:
            if point.trigger == "drain":
                await self._drain_at_once(program)
            await until(
                lambda: self._provoked(point, program), seconds=REACHED_SECONDS, what=f"a crash at '{point.name}'"
            )
        finally:
            died = program.exit_code == -signal.SIGKILL
            program.kill()
        return died

    async def _tried_web(self, point: Point) -> bool:
        number = self._rng.randrange(len(self._stack.webs))
        self._stack.webs[number].kill()
        program = self._stack.start_web(number, crash_at=point.name)
        program.ended_by_us = True
        try:
            await until(
                lambda: self._provoked(point, program), seconds=REACHED_SECONDS, what=f"a crash at '{point.name}'"
            )
        finally:
            died = program.exit_code == -signal.SIGKILL
            program.kill()
            self._stack.webs[number] = self._stack.start_web(number)
            await self._stack.serving(self._stack.ports[number])
        return died

    async def _drain_at_once(self, program: Program) -> None:
        """Two SIGTERM, so that it gives back what it has. The second one must come after the first was heard."""
        await self._at_work(program)
        program.signal(signal.SIGTERM)

        async def draining() -> bool:
            rows = await self._database.rows_soon(_STATUS, pid=program.pid)
            return not program.alive or rows[0][0] == "draining"

        await until(draining, seconds=REACHED_SECONDS, what=f"{program.name} draining")
        program.signal(signal.SIGTERM)

    async def _provoked(self, point: Point, program: Program) -> bool:
        """Do what makes the point likely, and say whether the process has ended."""
        if point.trigger == "stop" and program.alive:
            held = await self._held_now(program) if point.role == "runner" else None
            await self._stop_one({one.turn for one in held} if held is not None else None)
        return not program.alive

    async def _stop_one(self, turns: set[str] | None) -> None:
        """Have a person stop an open turn: one of `turns`, or any."""
        found = [
            (device, turn_id)
            for device in self._devices
            for turn_id, turn in device.reader.turns.items()
            if turn.status == "open" and (turns is None or turn_id in turns)
        ]
        if found:
            device, turn_id = self._rng.choice(found)
            await device.stop(turn_id)

    # --- everything else ---

    async def _kill_web(self) -> None:
        number = self._rng.randrange(len(self._stack.webs))
        port = self._stack.ports[number]

        async def asked() -> int:
            return self._stack.proxy.asking(port)

        self._count("web killed", await self._seen_soon(asked))
        self._stack.webs[number].kill()
        self._stack.webs[number] = self._stack.start_web(number)
        await self._stack.serving(port)

    async def _kill_database(self) -> None:
        """While it works, and when enough was acknowledged since it was killed last."""
        enough = self._acknowledged + ACKNOWLEDGED_BETWEEN

        async def at_work() -> int:
            return int((await self._database.rows_soon(_AT_WORK))[0][0])

        await until(lambda: self._tally.acknowledged >= enough, seconds=REACHED_SECONDS, what="acknowledgements")
        self._acknowledged = self._tally.acknowledged
        self._count("PostgreSQL killed", await self._seen_soon(at_work))
        await self._database.crash()
        await self._database.rows_soon("SELECT 1")

    async def _seen_soon(self, look: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """A moment that hurts, if one comes soon."""
        try:
            return await until(look, seconds=GOOD_MOMENT_SECONDS, what="a good moment")
        except NotSeen:
            return 0

    async def _drop(self) -> None:
        before = self._stack.proxy.dropped
        self._stack.proxy.drop_next()
        await until(lambda: self._stack.proxy.dropped > before, seconds=REACHED_SECONDS, what="a dropped reply")
        self._count("reply dropped after the commit", True)

    async def _cut(self) -> None:
        self._count("connections cut", self._stack.proxy.cut_some(self._rng.randint(1, 8)))


_OVER = {"completed", "failed", "cancelled", "expired"}
