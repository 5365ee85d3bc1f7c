"""`python -m tests.chaos.alert_lives`: processes with the evaluator and the notifier, and nothing else, to be killed.

Django is loaded once; each line on standard input, `begin` or `begin calm`, forks a process and answers its id, `reap`
waits for its end. In them rules are evaluated at times of their own: each pass that commits is ten seconds after the
one before, whoever made that. So the history of alerts does not depend on who was killed when.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from monitoring.alerts.label_sets import LabelSet
    from monitoring.models import AlertRule

ROOT: Final = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG: Final = 1

START: Final = datetime(2026, 3, 1, 8, tzinfo=UTC)
INTERVAL: Final = timedelta(seconds=10)
THRESHOLD: Final = 10.0
HOSTS: Final = ("a", "b", "c")
# In passes: how long a host is above the threshold and below it, with a dip and a peak that are too short to count.
_CYCLE: Final = (12, 14)
_PASS_SECONDS: Final = 0.03
_POLL_SECONDS: Final = 0.04


def value_at(number: int, host: str) -> float:
    """The value of a host in a pass."""
    above, below = _CYCLE
    at = (number + 7 * HOSTS.index(host)) % (above + below)
    is_above = at < above or at == above + 8
    return THRESHOLD + 1 if is_above else THRESHOLD - 1


def values_of(group_by: list[str], number: int, *, calm: bool) -> dict[LabelSet, float | None]:
    """What a rule reads in a pass: by host, or of host a alone; nothing is above the threshold when all is calm."""
    values = {host: 0.0 if calm else value_at(number, host) for host in HOSTS}
    return {(("host", host),): value for host, value in values.items()} if group_by else {(): values["a"]}


def main() -> None:
    _die_with_parent()
    sys.path.insert(0, str(ROOT / "platform"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "runner"
    import django

    django.setup()
    # What a life would have to load, loaded once for all.
    for module in (
        "cryptography.fernet",
        "monitoring.alerts.evaluator",
        "monitoring.alerts.evaluator_thread",
        "monitoring.notifications.delivery",
        "monitoring.notifications.notifier",
    ):
        import_module(module)
    gc.freeze()
    process_id = 0
    for line in sys.stdin:
        match line.split():
            case ["begin", *words]:
                process_id = os.fork()
                if not process_id:
                    _live(calm=bool(words))
                print(process_id, flush=True)
            case ["reap"]:
                os.waitpid(process_id, 0)
                print("gone", flush=True)


def _die_with_parent() -> None:
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise SystemExit("chaos: this process would outlive its parent")


def _live(*, calm: bool) -> None:
    _die_with_parent()
    from monitoring.alerts.evaluator_thread import AlertEvaluator
    from monitoring.notifications.notifier import Notifier

    evaluate: Callable[[], object] = partial(_evaluate, calm=calm)
    AlertEvaluator(evaluate=evaluate, first_seconds=0, pass_seconds=_PASS_SECONDS).start()
    Notifier(poll_seconds=_POLL_SECONDS).start()
    while True:
        signal.pause()


def _evaluate(*, calm: bool) -> Any:
    from django.db.models import Max

    from monitoring.alerts.evaluator import evaluate_due_rules
    from monitoring.models import AlertRule

    last = AlertRule.objects.aggregate(at=Max("evaluated_at"))["at"]
    at = START if last is None else last + INTERVAL

    def read(rule: AlertRule, _at: datetime) -> dict[LabelSet, float | None]:
        return values_of(rule.group_by, (at - START) // INTERVAL, calm=calm)

    return evaluate_due_rules(at=at, read_values=read)


if __name__ == "__main__":
    main()
