"""The thread that evaluates the alert rules, in every web process and runner: the first that comes does the work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog
from django.db import close_old_connections, connection

from foundation.db_threads import DATABASE_FAULTS
from foundation.db_timeouts import statement_timeout
from foundation.process_work import Process

log = structlog.get_logger(__name__)

PASS_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 3.0
# Of one reading of values: a pass reads for five seconds at most.
STATEMENT_SECONDS: Final = 3.0
STOP_SECONDS: Final = 3.0


class AlertEvaluator(threading.Thread):
    """Background work of a process. It needs neither the scheduler nor the event loop; without a database nothing is
    evaluated, and the next pass goes on from the rows."""

    def __init__(
        self,
        process: Process | None = None,  # noqa: ARG002
        *,
        evaluate: Callable[[], object] | None = None,
        pass_seconds: float = PASS_SECONDS,
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        super().__init__(name="alert-evaluator", daemon=True)
        self._evaluate = evaluate or _evaluate_due_rules
        self._pass_seconds = pass_seconds
        self._first_seconds = first_seconds
        self._ended = threading.Event()

    def stop(self) -> None:
        """End, within some seconds; a pass that is at work is finished, or undone by the server."""
        self._ended.set()
        self.join(STOP_SECONDS)

    def run(self) -> None:
        wait_seconds = self._first_seconds
        while not self._ended.wait(wait_seconds):
            wait_seconds = self._pass_seconds
            self._run_pass()
        connection.close()

    def _run_pass(self) -> None:
        try:
            with statement_timeout(STATEMENT_SECONDS):
                self._evaluate()
        except DATABASE_FAULTS as error:
            log.warning("alert_rules.not_evaluated", error=str(error)[:200])
            connection.close()
        except Exception:
            log.exception("alert_rules.failed")
        finally:
            close_old_connections()


def _evaluate_due_rules() -> None:
    # Not with the app: commands and the scheduler, which evaluate nothing, need not load it.
    from monitoring.alerts.evaluator import evaluate_due_rules

    evaluate_due_rules()
