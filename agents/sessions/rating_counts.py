"""How often the answers of releases were rated, and how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Q

from agents.models import IN_PRODUCTION, Feedback
from foundation.ids import lowest_id


@dataclass(frozen=True, slots=True)
class RatingCounts:
    """The numbers of thumbs up and down."""

    up: int = 0
    down: int = 0

    @property
    def total(self) -> int:
        return self.up + self.down

    @property
    def down_percent(self) -> int:
        """The share of thumbs down among all, rounded; 0 if there are none."""
        return round(100 * self.down / self.total) if self.total else 0

    def __add__(self, other: RatingCounts) -> RatingCounts:
        return RatingCounts(self.up + other.up, self.down + other.down)


def count_ratings(
    release_ids: Iterable[UUID] | None = None,
    *,
    agent_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[UUID, RatingCounts]:
    """The ratings of the turns of each release: of all, of `release_ids` or of those of an agent; made from `since` and
    before `until`.

    Only ratings of turns of production count: those of copies in a fork would count the same answer twice. Releases
    without any are left out.
    """
    rows = Feedback.objects.filter(IN_PRODUCTION, release__isnull=False).order_by()
    if release_ids is not None:
        rows = rows.filter(release__in=list(release_ids))
    if agent_id is not None:
        rows = rows.filter(release__agent=agent_id)
    if since is not None:
        rows = rows.filter(pk__gte=lowest_id(since))
    if until is not None:
        rows = rows.filter(pk__lt=lowest_id(until))
    counts = rows.values_list("release_id").annotate(
        up=Count("pk", filter=Q(value=1)), down=Count("pk", filter=Q(value=-1))
    )
    return {release_id: RatingCounts(up, down) for release_id, up, down in counts if release_id is not None}
