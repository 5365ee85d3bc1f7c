"""Find turns by words of their questions and answers, for those who may read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import BooleanField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from agents.models import TurnText
from agents.models.key_arrays import key_in

# Up to so many turns are found by the index of words, and passed on one by one. With more, a page is soon full of the
# newest turns, each of which is looked at.
MAX_LISTED_TURNS: Final = 10_000
MAX_SEARCH: Final = 200
_QUOTED: Final = re.compile(r'("[^"]*"?)')
_PREFIX: Final = re.compile(r"(?<!\S)(\w+)\*(?!\S)")


def parse_search(text: str) -> SearchQuery | None:
    """The query for `text`: all of its words, "exact phrases", -excluded words, `or`, and beginnings of words as
    `begin*`; None if it has no word."""
    quoted = _QUOTED.split(text)
    # Outside quotation marks, which are the odd pieces.
    prefixes = [prefix for piece in quoted[::2] for prefix in _PREFIX.findall(piece)]
    rest = "".join(_PREFIX.sub(" ", piece) if number % 2 == 0 else piece for number, piece in enumerate(quoted))
    queries = [SearchQuery(f"{prefix}:*", config="simple", search_type="raw") for prefix in prefixes]
    if re.search(r"\w", rest):
        queries.append(SearchQuery(rest, config="simple", search_type="websearch"))
    if not queries:
        return None
    query: Any = queries[0]
    for more in queries[1:]:
        query &= more
    return query  # type: ignore[no-any-return]


def find_turns(text: str, *, agent_ids: Sequence[UUID]) -> Q:
    """The condition on turns of these agents whose question or answer matches `text`, as `parse_search` reads it."""
    query = parse_search(text) if len(text) <= MAX_SEARCH and "\x00" not in text else None
    if query is None or not agent_ids:
        return Q(pk__in=[])
    texts = TurnText.objects.filter(document=query, agent__in=agent_ids)
    turn_ids = list(texts.values_list("pk", flat=True)[: MAX_LISTED_TURNS + 1])
    if len(turn_ids) <= MAX_LISTED_TURNS:
        return Q(key_in(turn_ids))
    return Q(_is_among(texts))


def _is_among(texts: QuerySet[TurnText]) -> Any:
    """Whether a turn is among `texts`, by one look-up per turn: as EXISTS it might be planned as a join of all."""
    of_turn = texts.filter(pk=OuterRef("pk")).values_list(Value(True))[:1]
    return Coalesce(Subquery(of_turn, output_field=BooleanField()), Value(False), output_field=BooleanField())
