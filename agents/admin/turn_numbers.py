"""The numbers of turns as people count them: 1, 2, 3, … in their session.

A turn has the ordinal of its question, which counts messages. Its number is counted when somebody looks, over the
unique index of session and ordinal, so that nothing is written for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Count, IntegerField, OuterRef, Subquery

from agents.models import Turn

_BEFORE = Turn.objects.filter(agent_session=OuterRef("agent_session"), ordinal__lte=OuterRef("ordinal")).order_by()
# For the rows of a list: it reads the index up to each of them.
TURN_NUMBER: Final = Subquery(
    _BEFORE.values("agent_session").annotate(number=Count("*")).values("number"), output_field=IntegerField()
)

# One walk over the index for each session, up to the last turn that is asked for.
_NUMBERS: Final = """
SELECT numbered.agent_session_id, numbered.ordinal, numbered.number
FROM (SELECT agent_session_id, ordinal, row_number() OVER (PARTITION BY agent_session_id ORDER BY ordinal) AS number
      FROM agents_turn WHERE agent_session_id = ANY(%(sessions)s) AND ordinal <= %(last)s) numbered
JOIN unnest(%(sessions)s::uuid[], %(ordinals)s::int[]) turn(session, ordinal)
  ON turn.session = numbered.agent_session_id AND turn.ordinal = numbered.ordinal
"""


def turn_numbers(turns: Iterable[Turn]) -> dict[UUID, int]:
    """The number of each turn in its session by the turn's id, from one statement: for many turns of one session."""
    by_place = {(turn.agent_session_id, turn.ordinal): turn.pk for turn in turns}
    if not by_place:
        return {}
    sessions, ordinals = zip(*by_place, strict=True)
    values = {"sessions": list(sessions), "ordinals": list(ordinals), "last": max(ordinals)}
    with connection.cursor() as cursor:
        cursor.execute(_NUMBERS, values)
        return {by_place[session, ordinal]: number for session, ordinal, number in cursor.fetchall()}
