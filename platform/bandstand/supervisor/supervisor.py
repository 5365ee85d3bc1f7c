"""Starts, monitors and stops everything that `make run` runs."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from bandstand import data_dir, databases, installation_secrets
from bandstand.config import EXIT_CONFIG, ROOT, Config
from bandstand.supervisor import banner, liveness_watch, probe, process_records, scheduler_watch
from bandstand.supervisor.child import Child, ChildSpec
from bandstand.supervisor.child_logs import ChildLog
from bandstand.supervisor.conditions import Condition
from bandstand.supervisor.database import Database
from bandstand.supervisor.embedder import SupervisedEmbedder
from bandstand.supervisor.errors import CannotStart
from bandstand.supervisor.lock import Lock
from bandstand.supervisor.log_rotation import LogLimits, rotate_forever
from bandstand.supervisor.terminal import print_error, print_line
from bandstand.supervisor.watchdog_setup import make_watchdog
from bandstand.web.listen_sockets import FD_VARIABLE, AddressError, check_free, listening_socket
from foundation.private_files import OWNER_LOGIN_FILE, open_private

# A stop takes ten seconds at most: the children's share, then the rest for the database, which needs two to be killed.
STOP_SECONDS: Final = 7.5
CHILDREN_END_SECONDS: Final = 6.5
RUNNER_DRAIN_SECONDS: Final = 6.0
# How long to wait for a web process that runs and does not respond, and for the other parts.
ANSWER_SECONDS: Final = 90.0
READY_SECONDS: Final = 20.0
FAILURES_AT_START: Final = 3
# The event loop of a web process, which never waits for anything, has stood still for so long.
WEB_SILENT_SECONDS: Final = 20.0
LIVENESS_VARIABLE: Final = "BANDSTAND_LIVENESS_FILE"


class Installation:
    """All processes of one data directory. :meth:`run` is called once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.run_folder = config.data_dir / "run"
        self.log_folder = config.data_dir / "logs"
        self.database = Database(config.data_dir) if config.embedded else None
        self.children: list[Child] = []
        self.sockets: list[socket.socket] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._lock: Lock | None = None
        self._embedder = SupervisedEmbedder(config)

    async def run(self) -> int:
        """Start everything, wait for SIGTERM or SIGINT, stop everything; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)
        status = 0
        try:
            if await self._unless_stopped(self._start()):
                await self._stop.wait()
            print_line("Stopping …")
        except CannotStart as error:
            print_error(str(error))
            status = error.status
        finally:
            await self._end()
        return status

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
            for child in self.children:
                child.kill()
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run `work`; return False if a signal cancelled it."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return False
        task.result()
        return True

    # Starting

    async def _start(self) -> None:
        first = not (self.config.data_dir / OWNER_LOGIN_FILE).exists()
        self._claim()
        await self._end_orphans()
        self._check_address()
        if self.database is not None:
            installation_secrets.make(self.config.data_dir)
            print_line("Starting PostgreSQL …")
            await self.database.start()
            if (home := self.database.cluster.home).parent != self.config.data_dir:
                print_line(f"(its files are in {home}: the account it runs under cannot reach {self.config.data_dir})")
        print_line("Preparing the database …")
        await self._prepare()
        self._open_sockets()
        print_line("Starting web, runner and scheduler …")
        self._start_children()
        failing = await self._wait_until_ready()
        self._start_watchdog()
        for line in banner.lines(self.config, first=first):
            print_line(line)
        if failing:
            print_error(f"not everything works yet: {failing}")
        # Not before people can come in: it takes a second of the processor.
        await asyncio.to_thread(self._embedder.start)

    def _claim(self) -> None:
        try:
            data_dir.claim(self.config.data_dir)
            address = f"{self.config.host}:{self.config.port}"
            self._lock = Lock(self.run_folder, data_dir=self.config.data_dir, address=address)
            self.log_folder.mkdir(mode=0o700, exist_ok=True)
        except data_dir.DataDirError as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(f"{self.config.data_dir} cannot be used: {error.strerror}") from None

    async def _end_orphans(self) -> None:
        records = [*process_records.read(self.run_folder), *self._embedder.recorded()]
        names = await asyncio.to_thread(process_records.end, records)
        if names:
            print_line(f"Ended what a killed supervisor had left: {', '.join(names)}")

    def _check_address(self) -> None:
        try:
            check_free(self.config.host, self.config.port)
        except AddressError as error:
            raise CannotStart(str(error)) from None

    async def _prepare(self) -> None:
        log_path = self.log_folder / "prepare.log"
        with open_private(log_path, "wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "manage.py"),
                "prepare",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,
            )
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if status != 0:
            raise CannotStart(_last_lines(log_path), status)

    def _open_sockets(self) -> None:
        try:
            for _ in range(self.config.web_processes):
                self.sockets.append(listening_socket(self.config.host, self.config.port))
        except AddressError as error:
            raise CannotStart(str(error)) from None

    def _start_children(self) -> None:
        limits = LogLimits(megabytes=self.config.log_megabytes, days=self.config.log_days)
        self._watch(rotate_forever(self.log_folder, limits))
        for role in self._roles():
            log = self.log_folder / f"{role.name}.log"
            child = Child(role, log, self._remember)
            self.children.append(child)
            self._watch(self._show_errors(ChildLog(role.name, log)))
            child.start()
            silent_seconds = {"runagents": self.config.lease_seconds, "runweb": WEB_SILENT_SECONDS}.get(role.command)
            if silent_seconds is not None:
                file = self._liveness_file(role.name)
                self._watch(liveness_watch.watch(child, file, silent_seconds=silent_seconds))

    def _start_watchdog(self) -> None:
        liveness_files = {child.role.name: self._liveness_file(child.role.name) for child in self.children}
        watchdog = make_watchdog(
            self.config, host=self._local_host, children=self.children, files=liveness_files, database=self.database
        )
        self._watch(watchdog.run())
        [scheduler] = [child for child in self.children if child.role.name == "scheduler"]
        on_frozen = partial(watchdog.report, Condition.SCHEDULER_FROZEN)
        self._watch(
            scheduler_watch.watch_beats(
                scheduler,
                liveness_files["scheduler"],
                has_database=lambda: watchdog.has_database,
                on_frozen=on_frozen,
            )
        )
        url = databases.database_url(self.config)
        self._watch(scheduler_watch.watch_heartbeat(scheduler, url, on_frozen=on_frozen))

    def _roles(self) -> list[ChildSpec]:
        drain = min(self.config.drain_seconds, RUNNER_DRAIN_SECONDS)
        # Each web process has its own listening socket, which the supervisor keeps open: while one restarts, its share
        # of new connections waits instead of being refused.
        webs = [
            self._role(f"web-{i}", "runweb", {FD_VARIABLE: str(s.fileno())}, (s.fileno(),))
            for i, s in enumerate(self.sockets, 1)
        ]
        runners = [
            self._role(f"runner-{i}", "runagents", {"BANDSTAND_DRAIN_SECONDS": str(drain)})
            for i in range(1, self.config.runner_processes + 1)
        ]
        return [*webs, *runners, self._role("scheduler", "qcluster")]

    def _role(
        self, name: str, command: str, environment: Mapping[str, str] = {}, sockets: tuple[int, ...] = ()
    ) -> ChildSpec:
        liveness = {LIVENESS_VARIABLE: str(self._liveness_file(name))}
        return ChildSpec(name, command, {**self._environment(), **liveness, **environment}, sockets)

    @property
    def _local_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.config.host, self.config.host).strip("[]")  # noqa: S104

    def _liveness_file(self, name: str) -> Path:
        return self.run_folder / f"{name}.alive"

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "BANDSTAND_DATA_DIR": str(self.config.data_dir), "PYTHONUNBUFFERED": "1"}

    async def _wait_until_ready(self) -> str:
        """Wait for the web processes, then up to `READY_SECONDS` for the rest; return what still fails, as text.

        Raises CannotStart.
        """
        start = time.monotonic()
        while True:
            for child in self.children:
                if child.last_status == EXIT_CONFIG or child.failures >= FAILURES_AT_START:
                    raise CannotStart(
                        f"{child.role.name} does not start:\n{_last_lines(child.log)}", child.last_status or 1
                    )
            answer = await probe.get(self._local_host, self.config.port, "/ready")
            failing = answer[1].get("failing", {}) if answer is not None else {}
            if not self.config.runner_processes:
                failing.pop("runner", None)  # they run elsewhere
            if answer is not None and not failing:
                return ""
            elapsed = time.monotonic() - start
            if answer is None and elapsed > ANSWER_SECONDS:
                raise CannotStart(f"no answer from {self.config.base_url} after {ANSWER_SECONDS:.0f} s")
            if answer is not None and elapsed > READY_SECONDS:
                return ", ".join(f"{part} ({detail})" for part, detail in failing.items())
            await asyncio.sleep(0.1)

    # Watching

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        self._watchers.append(asyncio.create_task(_report_fault(work)))

    async def _show_errors(self, log: ChildLog) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                lines = log.errors()
            except OSError as error:  # it may be full, and is not the next time
                print_error(f"{log.path} cannot be read: {error.strerror}")
                continue
            for line in lines:
                print_error(line)

    def _remember(self) -> None:
        try:
            process_records.write(self.run_folder, [child.started for child in self.children if child.started])
        except OSError as error:
            # On a full disk the processes are worth more than their record.
            print_error(f"the running processes cannot be recorded: {error.strerror}")

    # Ending

    async def _end(self) -> None:
        start = time.monotonic()
        for watcher in self._watchers:
            watcher.cancel()
        for server in self.sockets:
            server.close()
        for child in self.children:
            child.request_stop()
        await asyncio.gather(*(self._end_child(child) for child in self.children))
        if self._lock is not None:
            await asyncio.to_thread(self._embedder.end)
        if self.database is not None and self._lock is not None:
            await self.database.stop(max(1.0, STOP_SECONDS - (time.monotonic() - start)))

    async def _end_child(self, child: Child) -> None:
        if not await child.end(0.0 if self._hurry.is_set() else CHILDREN_END_SECONDS):
            print_error(f"{child.role.name} did not end in time and was killed")


async def _report_fault(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, which ends only when it is cancelled; print what else ends it."""
    try:
        await work
    except Exception as error:
        print_error(f"{getattr(work, '__qualname__', work)} has failed: {type(error).__name__}: {error}")


def _last_lines(log: Path) -> str:
    """The last lines of a log, as the reason of a failure."""
    with suppress(OSError):
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
        own_lines = [line for line in lines if line.startswith("bandstand: ")]
        return "\n".join(own_lines or lines[-3:]) or f"no reason given; see {log}"
    return f"no reason given; see {log}"
