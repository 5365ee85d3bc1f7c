"""The closed list of jobs. What is not here runs nowhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.utils.module_loading import import_string


@dataclass(frozen=True, slots=True)
class Job:
    """A synchronous function without arguments, safe to run twice; when it runs, until somebody decides otherwise.

    It runs every `every_minutes`, or by `cron`. `words` say in the console what it is for; `counts`, what the number
    that it returns stands for.
    """

    name: str
    function: str
    words: str
    counts: str
    every_minutes: int | None = None
    cron: str = ""

    def load(self) -> Callable[[], Any]:
        """The function. Raises `ImportError` for one that is not there."""
        function: Callable[[], Any] = import_string(self.function)
        return function


JOBS: Final = (
    Job(
        "fold ended turns",
        "agents.tasks.compact_events",
        "Folds the many small events of an answer into one, a minute after its end.",
        "turns folded",
        1,
    ),
    # The runners do this every second; here it is done when none of them lives.
    Job(
        "reap lost turns",
        "agents.tasks.reap",
        "Ends or gives back turns whose runner is gone. A safety net: runners do this themselves.",
        "turns moved",
        1,
    ),
    Job(
        "carry on with bulk acts",
        "agents.tasks.carry_on_bulk_acts",
        "Goes on with what operators do to many rows at once.",
        "rows dealt with",
        1,
    ),
    Job(
        "delete sessions past their end",
        "agents.tasks.delete_expired",
        "Deletes conversations that were to be kept for a time only, such as those of OpenAI clients.",
        "sessions deleted",
        10,
    ),
    Job(
        "forget full buckets",
        "agents.tasks.purge_limits",
        "Forgets limits that nobody has come near for a while.",
        "rows deleted",
        10,
    ),
    Job(
        "forget idempotency keys",
        "agents.tasks.purge_idempotency",
        "Forgets answers kept for repeated requests for 48 hours, and runners that are gone for a week.",
        "answers forgotten",
        60,
    ),
    Job(
        "send waiting mail",
        "agents.tasks.send_letters",
        "Sends mail that could not be sent at once, and forgets mails after a month.",
        "mails sent",
        1,
    ),
    Job(
        "forget old logins",
        "agents.tasks.forget_logins",
        "Forgets the logins of browsers that have ended: signed out by time.",
        "logins forgotten",
        cron="10 3 * * *",
    ),
    Job(
        "forget old audit entries",
        "agents.tasks.forget_audit",
        "Forgets entries of the audit trail after the time that BANDSTAND_AUDIT_DAYS says, two years by default.",
        "entries forgotten",
        cron="20 3 * * *",
    ),
    Job(
        "forget old runs",
        "scheduling.tasks.forget_old_runs",
        "Forgets the runs of these schedules after a week.",
        "runs forgotten",
        cron="30 3 * * *",
    ),
)
BY_NAME: Final = {job.name: job for job in JOBS}
