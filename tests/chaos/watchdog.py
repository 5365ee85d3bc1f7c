"""`python -m tests.chaos.watchdog`: an installation whose database, scheduler and disk fail, and a receiver beside.

Each must be reported within a minute, and its end too; what can be restarted must be; and a killed supervisor must be
noticed by the call that is missing, and neither repeat nor forget anything when it is started again. Six minutes.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bandstand.embedded import Cluster
from bandstand.supervisor.conditions import Condition
from bandstand.supervisor.observers import MEBIBYTE, read_disk_usage
from bandstand.supervisor.watchdog import WatchdogTiming
from tests.support.running import Running, wait_for
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

REPORT_SECONDS = 60.0
# The end of a process that is restarted by itself: the restart after its report, and what must last.
END_SECONDS = 120.0
# How much is written to fill the disk, and how far the limit is above it.
FILL_MEGABYTES, ROOM_MEGABYTES = 4096, 2048


class Unreported(Exception):
    """Something was not reported in time, or twice."""


class Witness:
    """Sees what the receiver got."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self._receiver = receiver

    def count(self, transition: str, condition: Condition) -> int:
        return sum(text.startswith(f"{transition} {condition} ") for text in self._receiver.texts)

    @contextmanager
    def expect(self, transition: str, condition: Condition, *, within_seconds: float, what: str) -> Iterator[None]:
        """One message more than before the block, which causes it."""
        before, start = self.count(transition, condition), time.monotonic()
        yield
        deadline = start + within_seconds
        while self.count(transition, condition) == before:
            if time.monotonic() > deadline:
                raise Unreported(f"{what}: {transition} {condition} not within {within_seconds:.0f} s")
            time.sleep(0.1)
        print(f"  {what}: {transition} {condition} after {time.monotonic() - start:.1f} s", flush=True)


def break_and_mend(
    witness: Witness, condition: Condition, *, what: str, break_it: Callable[[], None], mend: Callable[[], None]
) -> None:
    with witness.expect("FIRING", condition, within_seconds=REPORT_SECONDS, what=what):
        break_it()
    with witness.expect("RESOLVED", condition, within_seconds=END_SECONDS, what=what):
        mend()


def lose_database(running: Running, witness: Witness) -> None:
    """Killed, it is back by itself; killed and unable to start, it is reported."""
    cluster = Cluster(running.data_dir)
    killed = cluster.pid
    start = time.monotonic()
    os.kill(killed or 0, signal.SIGKILL)
    wait_for(lambda: cluster.pid not in {None, killed})
    running.wait_until_all_parts_work()
    print(f"  a killed database works again after {time.monotonic() - start:.1f} s", flush=True)
    folder = cluster.home / "data" / "global"

    def break_it() -> None:
        folder.rename(folder.with_name("global.away"))
        os.kill(cluster.pid or 0, signal.SIGKILL)

    def mend() -> None:
        folder.with_name("global.away").rename(folder)

    break_and_mend(witness, Condition.DATABASE_DOWN, what="a database that cannot start", break_it=break_it, mend=mend)


def freeze_scheduler(running: Running, witness: Witness) -> None:
    """Its idle workers die with the lock of the queue (django-q2/django-q2#23); its guard stands still."""

    def guard() -> psutil.Process:
        [process] = psutil.Process(running.children()["scheduler"]).children()
        return process

    def kill_workers() -> None:
        for worker in guard().children()[:2]:
            worker.kill()

    for what, break_it in (
        ("a scheduler whose workers died", kill_workers),
        ("a scheduler whose guard stands still", lambda: guard().suspend()),
    ):
        leader = running.children()["scheduler"]
        break_and_mend(witness, Condition.SCHEDULER_FROZEN, what=what, break_it=break_it, mend=lambda: None)
        if running.children()["scheduler"] == leader:
            raise Unreported(f"{what}: it was not started anew")


def stop_processes(running: Running) -> None:
    """A web process and a runner that stand still are replaced before anybody is told."""
    for name in ("web-1", "runner-1"):
        before, start = running.children()[name], time.monotonic()
        os.kill(before, signal.SIGSTOP)
        wait_for(lambda name=name, before=before: running.children().get(name, before) != before)  # type: ignore[misc]
        running.wait_until_all_parts_work()
        print(f"  {name} that stood still is replaced after {time.monotonic() - start:.1f} s", flush=True)


def fill_disk(running: Running, witness: Witness) -> None:
    file = running.data_dir / "filler"

    def fill() -> None:
        with file.open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, FILL_MEGABYTES * MEBIBYTE)

    break_and_mend(witness, Condition.DISK_FULL, what="a full disk", break_it=fill, mend=file.unlink)


def lose_supervisor(
    running: Running, receiver: WebhookReceiver, witness: Witness, start: Callable[[int | None], Running]
) -> None:
    """Killed while a disk is full: nobody calls any more. The next one reports the end, and nothing twice."""
    calls = len(receiver.calls)
    wait_for(lambda: len(receiver.calls) > calls)
    file = running.data_dir / "filler"
    with (
        witness.expect("FIRING", Condition.DISK_FULL, within_seconds=REPORT_SECONDS, what="a full disk"),
        file.open("wb") as filler,
    ):
        os.posix_fallocate(filler.fileno(), 0, FILL_MEGABYTES * MEBIBYTE)
    reports = witness.count("FIRING", Condition.DISK_FULL)
    running.process.kill()
    running.wait()
    last = receiver.calls[-1]
    while time.monotonic() < last + 2 * WatchdogTiming().heartbeat:
        time.sleep(1)
    if receiver.calls[-1] != last:
        raise Unreported("somebody calls for a supervisor that is dead")
    print("  a dead supervisor: no call for two periods", flush=True)
    start(running.port)
    time.sleep(20)
    if witness.count("FIRING", Condition.DISK_FULL) != reports:
        raise Unreported("a supervisor that was started again repeats itself")
    with witness.expect("RESOLVED", Condition.DISK_FULL, within_seconds=END_SECONDS, what="by the next supervisor"):
        file.unlink()


def main() -> int:
    """Run all of it; the exit status."""
    with webhook_receiver() as receiver, tempfile.TemporaryDirectory(prefix="bandstand-chaos-") as name:
        Path(name).chmod(0o711)
        filler = Path(name) / "data" / "filler"
        settings = {
            "BANDSTAND_WATCHDOG_WEBHOOK": receiver.url,
            "BANDSTAND_HEARTBEAT_URL": receiver.url,
            "BANDSTAND_DISK_FULL_PERCENT": "100",
        }
        witness = Witness(receiver)

        started: list[Running] = []

        def start(port: int | None = None) -> Running:
            # Of what is free now: others write on this disk, too.
            free = (read_disk_usage(Path(name)).free + (filler.stat().st_size if filler.exists() else 0)) // MEBIBYTE
            limit = str(max(0, free - FILL_MEGABYTES + ROOM_MEGABYTES))
            started.append(Running(filler.parent, port, BANDSTAND_DISK_FREE_MEGABYTES=limit, **settings))
            return started[-1].wait_until_ready()

        running = start()
        try:
            running.wait_until_all_parts_work()
            wait_for(lambda: receiver.calls)
            lose_database(running, witness)
            freeze_scheduler(running, witness)
            stop_processes(running)
            fill_disk(running, witness)
            lose_supervisor(running, receiver, witness, start)
        except (AssertionError, Unreported) as error:
            print(f"{error}\n{started[-1].said}", file=sys.stderr)
            return 1
        finally:
            started[-1].end()
    print("all of it was reported in time", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
