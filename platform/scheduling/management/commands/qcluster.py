"""`manage.py qcluster`: the scheduler, which is django-q2's cluster with a liveness file."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django_q.management.commands import qcluster

from scheduling.cluster_liveness import use_liveness_file


class Command(qcluster.Command):  # type: ignore[misc]  # the library has no types
    def handle(self, *args: Any, **options: Any) -> None:
        use_liveness_file(settings.BANDSTAND.scheduler_liveness_file)
        super().handle(*args, **options)
