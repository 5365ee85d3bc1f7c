"""The jobs that may run on a schedule: each app registers its own in `AppConfig.ready()`. Nothing else runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string


@dataclass(frozen=True, slots=True)
class Job:
    """A synchronous function without arguments, safe to run twice; when it runs, until somebody decides otherwise.

    `function` is the function itself, or its dotted path, which is imported when the job runs: a process that runs no
    jobs does not load what they need. It runs every `every_minutes`, or by `cron` in the installation's time zone.
    `words` say in the console what it is for; `counts`, what the number that it returns stands for.
    """

    name: str
    function: Callable[[], object] | str
    description: str
    result_label: str
    every_minutes: int | None = None
    cron: str = ""

    def load(self) -> Callable[[], object]:
        """The function. Raises `ImportError` for one that is not there."""
        if not isinstance(self.function, str):
            return self.function
        function: Callable[[], object] = import_string(self.function)
        return function


class JobRegistry:
    """Jobs by name, in the order in which they were registered: that of INSTALLED_APPS."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def register(self, job: Job) -> None:
        """Add `job`. Raises `ImproperlyConfigured` for a name that is taken."""
        if job.name in self._jobs:
            raise ImproperlyConfigured(f"Two jobs are called {job.name!r}.")
        self._jobs[job.name] = job

    def get(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def names(self) -> list[str]:
        return list(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)


jobs: Final = JobRegistry()
register: Final = jobs.register
