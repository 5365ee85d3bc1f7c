"""The registry of jobs, which each app fills in `AppConfig.ready()`. Only registered jobs can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string


@dataclass(frozen=True, slots=True)
class Retention:
    """How long something is kept before a job deletes it.

    `kind` names it, as a title; `kept` is the time in words, or a function that returns it, because Django is not ready
    when jobs are declared. `setting` is the environment variable that changes it.
    """

    kind: str
    kept: Callable[[], str] | str
    setting: str = ""

    def describe(self) -> str:
        """The time in words: "30 days"."""
        return self.kept if isinstance(self.kept, str) else self.kept()


@dataclass(frozen=True, slots=True)
class Job:
    """A job: an idempotent synchronous function without arguments, with its default schedule.

    `function` is a callable or its dotted path, which is imported when the job runs, so that other processes do not
    load it. It runs every `every_minutes`, or by `cron` in the installation's time zone. `description` is for the
    console; `result_label` names what the number that it returns counts. `retentions`: what it deletes, and when.
    """

    name: str
    function: Callable[[], object] | str
    description: str
    result_label: str
    every_minutes: int | None = None
    cron: str = ""
    retentions: tuple[Retention, ...] = ()

    def load(self) -> Callable[[], object]:
        """The function, imported if needed. Raises `ImportError`."""
        if not isinstance(self.function, str):
            return self.function
        function: Callable[[], object] = import_string(self.function)
        return function


class JobRegistry:
    """Jobs by name, in the order in which they were registered: that of INSTALLED_APPS."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def register(self, job: Job) -> None:
        """Add `job`. Raises `ImproperlyConfigured` for a name in use."""
        if job.name in self._jobs:
            raise ImproperlyConfigured(f"Two jobs are called {job.name!r}.")
        self._jobs[job.name] = job

    def get(self, name: str) -> Job | None:
        """The job, or None."""
        return self._jobs.get(name)

    def names(self) -> list[str]:
        """The names of all jobs, in the order of registration."""
        return list(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)


jobs: Final = JobRegistry()
register: Final = jobs.register
