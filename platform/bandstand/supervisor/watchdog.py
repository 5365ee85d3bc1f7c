"""Reports what the platform cannot report itself (a dead database, a full disk, a frozen scheduler), through one
webhook that needs none of them, and calls the heartbeat's address while all is well.

A dead supervisor reports nothing: that the calls stop is what tells.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bandstand.supervisor.condition_episodes import ConditionChange, Episodes, Observation, Subject, Transition
from bandstand.supervisor.conditions import TERMS, Condition
from bandstand.supervisor.messenger import Messenger, retry
from bandstand.supervisor.observers import Observations, Observer, RestartObserver
from bandstand.supervisor.state_file import StateFile
from bandstand.supervisor.terminal import print_error
from foundation.durations import format_seconds

RUNBOOKS: Final = "docs/runbooks.md"
# Messages that wait for a webhook that does not answer; of more the oldest are dropped.
MAX_MESSAGES: Final = 50


@dataclass(frozen=True, slots=True)
class WatchdogTiming:
    """How often it looks, calls and tries again, in seconds."""

    look: float = 5.0
    heartbeat: float = 60.0
    heartbeat_retry: float = 10.0
    first_retry: float = 2.0
    longest_retry: float = 60.0


class Watchdog:
    """Looks with `observers` and reports through `messenger` as `name`, an installation whose runbooks are at
    `runbooks_url`. What is open and what is not delivered survives a restart in `file`. `clean` removes secrets from a
    text."""

    def __init__(
        self,
        *,
        name: str,
        runbooks_url: str,
        observers: Sequence[Observer],
        messenger: Messenger,
        file: StateFile,
        clean: Callable[[str], str] = str,
        timing: WatchdogTiming = WatchdogTiming(),
    ) -> None:
        self._name = name
        self._runbooks_url = runbooks_url
        self._observers = observers
        self._messenger = messenger
        self._file = file
        self._clean = clean
        self._timing = timing
        self._episodes, self._messages = _restore(file.read())
        self._reports: dict[Subject, str] = {}
        self._look_now = asyncio.Event()
        self._has_messages = asyncio.Event()
        self._saving = asyncio.Lock()
        self._is_saved = True
        self._well_at: float | None = None
        self.has_database = True

    def report(self, condition: Condition, detail: str) -> None:
        """Have `condition` reported at once, as somebody else has found it; a look finds its end."""
        self._reports[Subject(condition)] = detail
        self._look_now.set()

    async def run(self) -> None:
        """Look, report and call until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                if self._messenger.has_webhook:
                    tasks.create_task(self._deliver())
                if self._messenger.has_heartbeat:
                    tasks.create_task(self._call_heartbeat())
        finally:
            await self._messenger.aclose()

    async def _watch(self) -> None:
        await self._save()  # takes its room while there is some
        while True:
            await self._look()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), self._timing.look)
            self._look_now.clear()

    async def _look(self) -> None:
        observations, is_complete = await self._observe()
        for subject, detail in self._reports.items():
            observations[subject] = Observation(is_bad=True, detail=detail, at_once=True)
        self._reports.clear()
        changes = self._episodes.update(
            observations, seconds=time.monotonic(), at=datetime.now(UTC), is_complete=is_complete
        )
        for change in changes:
            text = self._clean(describe(change, self._name, self._runbooks_url))
            print_error(text)
            if self._messenger.has_webhook:
                self._messages.append(text)
                self._has_messages.set()
        if changes or not self._is_saved:
            await self._save()
        # What cannot be looked at is not well: nobody would tell of it.
        if is_complete and all(observation.is_bad is False for observation in observations.values()):
            self._well_at = time.monotonic()

    async def _observe(self) -> tuple[dict[Subject, Observation], bool]:
        """What is seen, and whether every observer could look."""
        results = await asyncio.gather(*(_look_safely(observer) for observer in self._observers))
        merged = {subject: one for result in results if result is not None for subject, one in result.items()}
        database = merged.get(Subject(Condition.DATABASE_DOWN))
        self.has_database = database is None or not database.is_bad
        if not self.has_database:
            # What fails without a database is not worth a word of its own.
            for observer, result in zip(self._observers, results, strict=True):
                if result is not None and observer.needs_database:
                    merged |= dict.fromkeys(result, Observation(is_bad=None))
                    if isinstance(observer, RestartObserver):
                        observer.forget()
        return merged, None not in results

    async def _save(self) -> None:
        # One after the other, with what is so by then: else a slow disk keeps the older state, or none that is whole.
        async with self._saving:
            state = {"episodes": self._episodes.dump(), "messages": list(self._messages)}
            await asyncio.to_thread(self._write, state)

    def _write(self, state: dict[str, Any]) -> None:
        try:
            self._file.write(state)
        except (OSError, ValueError) as error:
            if self._is_saved:
                print_error(
                    f"the watchdog cannot write its file ({type(error).__name__}): after a restart it may repeat"
                )
            self._is_saved = False
        else:
            self._is_saved = True

    async def _deliver(self) -> None:
        while True:
            while self._messages:
                text = self._messages[0]
                await retry(
                    lambda text=text: self._messenger.send(text),  # type: ignore[misc]  # mypy: cannot infer lambda
                    first_seconds=self._timing.first_retry,
                    longest_seconds=self._timing.longest_retry,
                )
                if self._messages and self._messages[0] is text:  # else it was dropped meanwhile
                    self._messages.popleft()
                await self._save()
            self._has_messages.clear()
            await self._has_messages.wait()

    async def _call_heartbeat(self) -> None:
        while True:
            if self._well_at is not None and time.monotonic() - self._well_at < 3 * self._timing.look:
                has_answered = await self._messenger.call_heartbeat()
                # One call that is lost must not be taken for a dead supervisor.
                await asyncio.sleep(self._timing.heartbeat if has_answered else self._timing.heartbeat_retry)
            else:
                await asyncio.sleep(self._timing.look)


async def _look_safely(observer: Observer) -> Observations | None:
    try:
        return await observer.look()
    except Exception as error:  # one that is broken must not silence the others
        print_error(f"the watchdog cannot look ({type(observer).__name__}: {type(error).__name__})")
        return None


def describe(change: ConditionChange, name: str, runbooks_url: str) -> str:
    """The message that says of `change`, in the installation `name`. A page of the console may be as dead as the rest:
    the file with the runbooks is named, too."""
    condition = change.subject.condition
    terms = TERMS[condition]
    detail = f" ({change.detail})" if change.detail else ""
    if change.transition is Transition.RESOLVED:
        lasted = format_seconds((change.at - change.since).total_seconds())
        return f"RESOLVED {condition} on {name}: it is over after {lasted}. It was: {terms.title}{detail}."
    since = change.since.strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"FIRING {condition} on {name}. {terms.title}{detail}, since {since}. {terms.remedy} "
        f"Runbook: {runbooks_url}#{condition} (or {RUNBOOKS})"
    )


def _restore(value: Any) -> tuple[Episodes, deque[str]]:
    try:
        episodes = Episodes.load(value["episodes"])
        messages = deque(map(str, value["messages"]), maxlen=MAX_MESSAGES)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Episodes(), deque(maxlen=MAX_MESSAGES)
    return episodes, messages
