"""The thread that writes the samples of its process, and in one process of all those of the gauges. It looks at the
runners, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from django.db import close_old_connections, connection

from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from foundation.db_threads import DATABASE_FAULTS
from foundation.db_timeouts import statement_timeout
from foundation.process_work import Process
from monitoring.sampling.gauge_samples import SAMPLE_SECONDS, gauges_are_due, write_gauges
from monitoring.sampling.process_samples import make_sample, read_process, store_sample
from monitoring.sampling.runner_looks import LOOK_SECONDS, look_at_runners

log = structlog.get_logger(__name__)

FIRST_SECONDS = 2.0
# A sample is worth less than a connection: it gives way soon.
STATEMENT_SECONDS = 3.0
STOP_SECONDS = 3.0


class Sampler(threading.Thread):
    """Background work of a process. It needs neither the event loop nor a database that works: without one nothing is
    written, and totals come with the next sample. At the end there is one more, so that none are lost."""

    def __init__(
        self,
        process: Process,
        *,
        analyse: Callable[[], object],
        interval_seconds: float = SAMPLE_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        """`analyse` is called after the gauges are written, by one process at a time."""
        super().__init__(name="samples", daemon=True)
        self._process = process
        self._analyse = analyse
        self._interval_seconds = interval_seconds
        self._first_seconds = first_seconds
        self._ended = threading.Event()
        self._before = read_process(process)

    def stop(self) -> None:
        """Write the last sample and end, within some seconds."""
        self._ended.set()
        self.join(STOP_SECONDS)

    def run(self) -> None:
        wait_seconds = self._first_seconds
        sample_at = 0.0
        while not self._ended.wait(wait_seconds):
            wait_seconds = min(self._interval_seconds, LOOK_SECONDS)
            self._guard(look_at_runners)
            if time.monotonic() >= sample_at:
                self._guard(self._write_sample)
                self._guard(self._watch_installation)
                sample_at = time.monotonic() + self._interval_seconds
        self._guard(self._write_sample)
        connection.close()

    def _guard(self, work: Callable[[], object]) -> None:
        try:
            with statement_timeout(STATEMENT_SECONDS):
                work()
        except DATABASE_FAULTS as error:
            log.warning("sample.not_written", work=work.__name__, error=str(error)[:200])
            connection.close()
        except Exception:
            log.exception("sample.failed", work=work.__name__)
        finally:
            close_old_connections()

    def _write_sample(self) -> None:
        reading = read_process(self._process)
        store_sample(make_sample(self._process, self._before, reading))
        self._before = reading

    def _watch_installation(self) -> None:
        with try_advisory_lock(AdvisoryLock.MONITOR_PERFORMANCE) as is_mine:
            if is_mine and gauges_are_due():
                write_gauges()
                self._analyse()
