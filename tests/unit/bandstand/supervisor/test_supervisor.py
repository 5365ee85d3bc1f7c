"""What the supervisor decides without looking at a process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bandstand.supervisor import process_records
from bandstand.supervisor.child import LONGEST_PAUSE_SECONDS, Child, ChildSpec, next_pause
from bandstand.supervisor.child_logs import ChildLog
from bandstand.supervisor.liveness_watch import Beats
from bandstand.supervisor.process_records import ChildProcess
from bandstand.supervisor.scheduler_watch import is_frozen
from tests.support.surroundings import ROOT


def test_a_child_that_keeps_dying_is_started_ever_more_slowly() -> None:
    pauses = [next_pause(0.0, 0.0)]
    while pauses[-1] < LONGEST_PAUSE_SECONDS:
        pauses.append(next_pause(pauses[-1], 1.0))
    assert pauses[0] == 0.2
    assert pauses == sorted(set(pauses))
    assert next_pause(LONGEST_PAUSE_SECONDS, 1.0) == LONGEST_PAUSE_SECONDS


def test_a_child_that_lived_is_started_at_once_again() -> None:
    assert next_pause(LONGEST_PAUSE_SECONDS, 60.0) == 0.2


@pytest.mark.parametrize(
    ("lived", "age", "frozen"),
    [(10, None, False), (10, 1000, False), (250, 59, False), (250, None, True), (250, 241, True)],
)
def test_a_scheduler_is_frozen_when_it_lives_and_beats_no_more(lived: float, age: float | None, frozen: bool) -> None:
    assert is_frozen(lived, age) is frozen


def test_a_runner_is_silent_when_it_has_beaten_and_beats_no_more() -> None:
    beats = Beats(3)
    looks = [(1, None)] * 9 + [(1, 7)] + [(1, 7)] * 3  # it starts for long, then beats once
    assert not any(beats.is_silent(*look) for look in looks)
    assert beats.is_silent(1, 7)
    assert beats.is_silent(1, 7)
    # Another one: what the first one has left is no beat of its own.
    assert not any(beats.is_silent(2, 7) for _ in range(9))
    assert not any(beats.is_silent(2, beat) for beat in (8, 8, 8, 9, 9, 9, 10))
    assert not any(beats.is_silent(None, 10) for _ in range(9)), "nobody runs"


def line(level: str, event: str, **more: str) -> str:
    return json.dumps({"level": level, "event": event, **more}) + "\n"


async def test_a_child_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    # Without a place for its log; then as a command that ends by itself.
    folder = tmp_path / "logs"
    child = Child(ChildSpec("web-1", "alive"), folder / "web-1.log", changed=lambda: None)
    child.start()
    async with asyncio.timeout(60):
        while child.failures == 0:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.005)
        assert child.last_status == os.EX_OSERR
        folder.mkdir()
        while child.last_status == os.EX_OSERR:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.005)
    assert child.last_status == 2
    child.kill()
    assert await child.end(10)


def test_errors_of_children_are_shown_and_the_rest_is_not(tmp_path: Path) -> None:
    log = tmp_path / "web-1.log"
    log.write_text(line("error", "from an earlier run"))
    followed = ChildLog("web-1", log)
    with log.open("a") as file:
        file.write(line("info", "quiet") + line("error", "loud", exception="Traceback\nValueError: no") + "half a l")
        file.flush()
        assert followed.errors() == ["web-1: loud ValueError: no"]
        file.write("ine\n")
        file.flush()
        assert followed.errors() == ["web-1: half a line"]
        assert followed.errors() == []


def test_errors_after_a_rotation_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "web-1.log"
    log.write_text(line("info", "a long one of yesterday" * 9))
    followed = ChildLog("web-1", log)
    log.write_text(line("error", "today"))
    assert followed.errors() == ["web-1: today"]


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert ChildLog("web-1", tmp_path / "none.log").errors() == []


def session(code: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdin=pipe, stdout=pipe)


def test_orphans_are_ended_with_all_they_started(tmp_path: Path) -> None:
    # Deaf to SIGTERM, with a child in the same session.
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork();"
        "print('up', flush=True); time.sleep(60)"
    )
    orphan = session(code)
    assert orphan.stdout is not None
    for _ in range(2):
        orphan.stdout.readline()
    process_records.write(tmp_path, [process_records.describe("web-1", orphan.pid)])
    assert process_records.end(process_records.read(tmp_path)) == ["web-1"]
    assert orphan.stdout.read() == b""  # closed by all of them
    orphan.communicate()
    assert orphan.returncode == -9


def test_a_process_that_got_the_number_of_an_orphan_is_left_alone(tmp_path: Path) -> None:
    stranger = session("input()")
    try:
        process_records.write(tmp_path, [ChildProcess("web-1", stranger.pid, 12345.0)])
        assert process_records.end(process_records.read(tmp_path)) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


@pytest.mark.parametrize("content", ["", "nonsense", "[1]", '[{"pid": 1}]', "{}"])
def test_a_damaged_record_of_processes_is_nothing_to_go_by(tmp_path: Path, content: str) -> None:
    (tmp_path / process_records.FILE).write_text(content)
    assert process_records.read(tmp_path) == []


def test_a_record_of_processes_is_written_where_there_is_no_room_for_another_file(tmp_path: Path) -> None:
    children = [ChildProcess(f"web-{number}", number, 1.0) for number in range(3)]
    process_records.write(tmp_path, children)
    (tmp_path / f"{process_records.FILE}.{os.getpid()}.draft").mkdir()  # as little use as a full disk
    for some in (children[:1], children):
        process_records.write(tmp_path, some)
        assert process_records.read(tmp_path) == some


def test_the_platform_folder_is_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    # With one, it would be imported instead of the standard library's module of that name.
    done = subprocess.run([sys.executable, "-c", "import platform; platform.system()"], cwd=ROOT, check=False)
    assert done.returncode == os.EX_OK


async def test_a_restart_leaves_the_successor_of_a_process_that_ended_in_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bandstand.supervisor.child.TERM_SECONDS", 0.02)
    child = Child(ChildSpec("scheduler", "qcluster"), tmp_path / "scheduler.log", changed=lambda: None)
    child.started = ChildProcess("scheduler", 2**22 + 1, 0.0)
    successor = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        restarting = asyncio.create_task(child.restart())
        await asyncio.sleep(0)
        child.started = process_records.describe("scheduler", successor.pid)
        await restarting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(successor.wait(), 0.2)
        await child.restart()
        assert await asyncio.wait_for(successor.wait(), 10) == -signal.SIGKILL
    finally:
        if successor.returncode is None:
            successor.kill()
            await successor.wait()
