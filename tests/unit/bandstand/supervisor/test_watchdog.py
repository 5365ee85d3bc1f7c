"""The watchdog and a real receiver: what is reported, repeated, kept over a restart, and when it is silent."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bandstand.supervisor.condition_episodes import Observation, Subject
from bandstand.supervisor.conditions import TERMS, Condition, ConditionTerms
from bandstand.supervisor.messenger import Messenger
from bandstand.supervisor.observers import Observations
from bandstand.supervisor.state_file import StateFile
from bandstand.supervisor.watchdog import MAX_MESSAGES, Watchdog, WatchdogTiming
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

TIMING = WatchdogTiming(look=0.01, heartbeat=0.05, first_retry=0.01, longest_retry=0.02)
DATABASE, RUNNER = Subject(Condition.DATABASE_DOWN), Subject(Condition.RUNNER_DOWN)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every condition at once."""
    soon = {one: ConditionTerms(terms.title, terms.remedy, 0, 0) for one, terms in TERMS.items()}
    for module in ("condition_episodes", "watchdog"):
        monkeypatch.setattr(f"bandstand.supervisor.{module}.TERMS", soon)


class Scene:
    """An observer that sees what the test says."""

    def __init__(self, subject: Subject = DATABASE, *, needs_database: bool = False) -> None:
        self.subject = subject
        self.needs_database = needs_database
        self.observation = Observation(is_bad=False)
        self.looks = 0

    async def look(self) -> Observations:
        self.looks += 1
        return {self.subject: self.observation}

    def show(self, detail: str) -> None:
        self.observation = Observation(is_bad=bool(detail), detail=detail)


@asynccontextmanager
async def watching(receiver: WebhookReceiver, folder: Path, *scenes: Any, **options: Any) -> AsyncIterator[Watchdog]:
    messenger = Messenger(webhook=receiver.url, heartbeat_url=receiver.url)
    watchdog = Watchdog(
        name="here",
        runbooks_url="https://here/runbooks/",
        observers=scenes,
        messenger=messenger,
        **{"timing": TIMING, "file": StateFile(folder / "watchdog.state"), **options},
    )
    task = asyncio.create_task(watchdog.run())
    try:
        yield watchdog
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - the receiver is in a thread
            await asyncio.sleep(0.005)


async def test_a_condition_and_its_end_are_reported_once(receiver: WebhookReceiver, tmp_path: Path) -> None:
    scene = Scene()
    async with watching(receiver, tmp_path, scene):
        scene.show("connection refused")
        await until(lambda: receiver.texts)
        looks = scene.looks
        await until(lambda: scene.looks > looks + 3)
        scene.show("")
        await until(lambda: len(receiver.texts) == 2)
    begin, end = receiver.texts
    assert begin.startswith("FIRING database_down on here. The database does not answer (connection refused), since 20")
    assert begin.endswith("Runbook: https://here/runbooks/#database_down (or docs/runbooks.md)")
    assert end.startswith("RESOLVED database_down on here: it is over after ")
    assert end.endswith("It was: The database does not answer (connection refused).")


async def test_the_heartbeat_is_called_while_all_is_well_and_only_then(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    scene = Scene()
    async with watching(receiver, tmp_path, scene):
        await until(lambda: len(receiver.calls) > 2)
        scene.show("away")
        await until(lambda: receiver.texts)
        looks = scene.looks
        await until(lambda: scene.looks > looks + 5)
        calls = len(receiver.calls)
        await until(lambda: scene.looks > looks + 20)
        assert len(receiver.calls) == calls
        scene.show("")
        await until(lambda: len(receiver.calls) > calls)
    # Whoever waits for two periods knows that nobody calls any more.
    last = receiver.calls[-1]
    await asyncio.sleep(2 * TIMING.heartbeat)
    assert receiver.calls[-1] == last
    assert time.monotonic() - last >= 2 * TIMING.heartbeat


async def test_the_heartbeat_is_silent_while_something_cannot_be_looked_at(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    scene = Scene(Subject(Condition.DISK_FULL))
    async with watching(receiver, tmp_path, scene):
        await until(lambda: len(receiver.calls) > 1)
        scene.observation = Observation(is_bad=None, detail="TimeoutError")
        looks = scene.looks
        await until(lambda: scene.looks > looks + 5)
        calls = len(receiver.calls)
        await until(lambda: scene.looks > looks + 20)
        assert len(receiver.calls) == calls
        scene.show("")
        await until(lambda: len(receiver.calls) > calls)


async def test_a_heartbeat_that_is_lost_is_called_again_before_the_next_one(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    receiver.statuses = [503, 503]
    timing = WatchdogTiming(look=0.01, heartbeat=600.0, heartbeat_retry=0.01)
    async with watching(receiver, tmp_path, Scene(), timing=timing):
        await until(lambda: receiver.calls)


async def test_a_receiver_that_fails_is_asked_again_in_order(
    receiver: WebhookReceiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene()
    receiver.statuses = [500, 429, 404]
    messenger_texts = receiver.texts
    async with watching(receiver, tmp_path, scene):
        scene.show("away")
        await until(lambda: scene.looks > 3)
        scene.show("")
        await until(lambda: len(messenger_texts) == 2)
    assert [text.split()[0] for text in messenger_texts] == ["FIRING", "RESOLVED"]
    errors = capsys.readouterr().err
    assert "secret-path" not in errors
    assert "FIRING database_down" in errors, "it is on the terminal, too"


async def test_a_restart_neither_repeats_nor_forgets(receiver: WebhookReceiver, tmp_path: Path) -> None:
    scene, texts = Scene(), receiver.texts
    async with watching(receiver, tmp_path, scene):
        scene.show("away")
        await until(lambda: texts)
        await until(lambda: json.loads(state(tmp_path))["messages"] == [])
    async with watching(receiver, tmp_path, scene):
        looks = scene.looks
        await until(lambda: scene.looks > looks + 3)
        assert len(texts) == 1
        scene.show("")
        await until(lambda: len(texts) == 2)
    assert texts[1].startswith("RESOLVED database_down")


async def test_a_slow_disk_keeps_the_newest_state(receiver: WebhookReceiver, tmp_path: Path) -> None:
    class SlowFile(StateFile):
        writers = most_writers = 0

        def write(self, value: Any) -> None:
            self.writers += 1
            self.most_writers = max(self.writers, self.most_writers)
            time.sleep(0.1)
            super().write(value)
            self.writers -= 1

    scene, file = Scene(), SlowFile(tmp_path / "watchdog.state")
    async with watching(receiver, tmp_path, scene, file=file):
        scene.show("away")
        await until(lambda: receiver.texts and json.loads(state(tmp_path))["messages"] == [])
    assert file.most_writers == 1, "the state that is written last may be the older one"


async def test_what_was_not_delivered_is_sent_by_the_next_one(tmp_path: Path) -> None:
    scene, file = Scene(), StateFile(tmp_path / "watchdog.state")
    scene.show("away")
    with webhook_receiver() as nobody:
        nobody.statuses = [500] * 10_000
        async with watching(nobody, tmp_path, scene):
            await until(lambda: (file.read() or {}).get("messages"))
    with webhook_receiver() as receiver:
        async with watching(receiver, tmp_path, scene):
            await until(lambda: receiver.texts)
        assert [text.split()[0] for text in receiver.texts] == ["FIRING"]


def state(folder: Path) -> str:
    return json.dumps(StateFile(folder / "watchdog.state").read())


async def test_a_file_that_cannot_be_written_silences_nobody(
    receiver: WebhookReceiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene()
    async with watching(receiver, tmp_path / "nowhere", scene):
        for number in range(2):
            scene.show("away")
            await until(lambda number=number: len(receiver.texts) == 2 * number + 1)  # type: ignore[misc]
            scene.show("")
            await until(lambda number=number: len(receiver.texts) == 2 * number + 2)  # type: ignore[misc]
        (tmp_path / "nowhere").mkdir()
        await until((tmp_path / "nowhere" / "watchdog.state").exists)
    assert capsys.readouterr().err.count("cannot write its file (FileNotFoundError)") == 1


async def test_without_a_database_nothing_else_is_reported(receiver: WebhookReceiver, tmp_path: Path) -> None:
    database, runner = Scene(), Scene(RUNNER, needs_database=True)
    async with watching(receiver, tmp_path, database, runner) as watchdog:
        database.show("away")
        await until(lambda: not watchdog.has_database)
        runner.show("silent")
        looks = runner.looks
        await until(lambda: runner.looks > looks + 5)
        assert [text.split()[1] for text in receiver.texts] == ["database_down"]
        database.show("")
        await until(lambda: len(receiver.texts) == 3)
    assert {tuple(text.split()[:2]) for text in receiver.texts} == {
        ("FIRING", "database_down"), ("RESOLVED", "database_down"), ("FIRING", "runner_down"),
    }  # fmt: skip


async def test_what_another_watch_has_found_is_reported_at_once(receiver: WebhookReceiver, tmp_path: Path) -> None:
    frozen = Scene(Subject(Condition.SCHEDULER_FROZEN))
    async with watching(receiver, tmp_path, frozen, timing=WatchdogTiming(look=30.0)) as watchdog:
        await until(lambda: frozen.looks)
        watchdog.report(Condition.SCHEDULER_FROZEN, "it has been silent")
        await until(lambda: receiver.texts)
        assert "(it has been silent)" in receiver.texts[0]


async def test_an_observer_that_is_broken_stops_no_other(
    receiver: WebhookReceiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        needs_database = False

        async def look(self) -> Observations:
            raise LookupError

    scene = Scene()
    async with watching(receiver, tmp_path, Broken(), scene):
        scene.show("away")
        await until(lambda: receiver.texts)
    assert "cannot look (Broken: LookupError)" in capsys.readouterr().err


async def test_secrets_are_taken_out_and_the_oldest_message_goes_first(tmp_path: Path) -> None:
    scene = Scene()
    file = StateFile(tmp_path / "watchdog.state")
    file.write({"episodes": {}, "messages": [f"old {number}" for number in range(MAX_MESSAGES + 5)]})
    with webhook_receiver() as receiver:
        async with watching(receiver, tmp_path, scene, clean=lambda text: text.replace("canary", "[scrubbed]")):
            scene.show("canary")
            await until(lambda: receiver.texts and receiver.texts[-1].startswith("FIRING"))
        # Of 55 that waited, the newest 50; one of these may have been on its way when another came.
        assert receiver.texts[0] in {"old 5", "old 6"}
        assert len(receiver.texts) <= MAX_MESSAGES + 1
        assert "canary" not in receiver.texts[-1]
        assert "[scrubbed]" in receiver.texts[-1]
