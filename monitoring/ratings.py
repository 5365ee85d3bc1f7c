"""How answers were rated, counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q

from agents.models import Feedback


@dataclass(frozen=True, slots=True)
class Ratings:
    """The numbers of good and of bad ratings."""

    good: int = 0
    bad: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad


def count_ratings(since: datetime, until: datetime) -> Ratings:
    """The ratings that were given between the two times. One statement."""
    given = Feedback.objects.filter(created_at__gte=since, created_at__lt=until)
    return Ratings(**given.aggregate(good=Count("pk", filter=Q(value=1)), bad=Count("pk", filter=Q(value=-1))))
