"""The numbers of turns as people count them: 1, 2, 3, … in their session.

A turn has the ordinal of its question, which counts messages. Its number is counted when somebody looks, over the
unique index of session and ordinal, so that nothing is written for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db.models import Count, IntegerField, OuterRef, Subquery

from agents.models import Turn

_BEFORE = Turn.objects.filter(agent_session=OuterRef("agent_session"), ordinal__lte=OuterRef("ordinal")).order_by()
# For the rows of a page: it reads the index up to each of them.
TURN_NUMBER: Final = Subquery(
    _BEFORE.values("agent_session").annotate(number=Count("*")).values("number"), output_field=IntegerField()
)


def turn_numbers(turns: Iterable[Turn]) -> dict[UUID, int]:
    """The number of each turn in its session by the turn's id, from one query."""
    keys = [turn.pk for turn in turns]
    return dict(Turn.objects.filter(pk__in=keys).annotate(number=TURN_NUMBER).values_list("pk", "number"))
