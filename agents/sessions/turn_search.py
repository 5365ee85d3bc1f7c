"""Find turns by words of their questions and answers, for those who may read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import BooleanField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from agents.models import TurnText
from agents.models.key_arrays import key_in

# So many of the newest matches are looked up by the index of words. If there are more, a page is nearly always full
# with these.
LISTED_TURNS: Final = 2_000
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


@dataclass(frozen=True, slots=True)
class TurnMatches:
    """The newest turns that match, newest first. `texts` are all matches if there may be more, else None."""

    turn_ids: Sequence[UUID]
    texts: QuerySet[TurnText] | None = None

    @property
    def condition(self) -> Q:
        """The condition on turns that they match."""
        return Q(key_in(self.turn_ids)) if self.texts is None else Q(_is_among(self.texts))

    @property
    def arms(self) -> list[Q]:
        """Conditions that part the matches into the newest and those before them; none if they need not be parted."""
        return [Q(key_in(self.turn_ids)), Q(pk__lt=self.turn_ids[-1])] if self.texts is not None else []


def find_turns(text: str, *, agent_ids: Sequence[UUID], before: UUID | None = None) -> TurnMatches:
    """The turns of these agents whose question or answer matches `text`, as `parse_search` reads it; of those
    `before` a turn only, if one is given."""
    query = parse_search(text) if len(text) <= MAX_SEARCH else None
    if query is None or not agent_ids:
        return TurnMatches(())
    texts = TurnText.objects.filter(document=query, agent__in=agent_ids)
    newest = texts.filter(pk__lt=before) if before else texts
    turn_ids = list(newest.order_by("-pk").values_list("pk", flat=True)[: LISTED_TURNS + 1])
    return TurnMatches(turn_ids, texts if len(turn_ids) > LISTED_TURNS else None)


def _is_among(texts: QuerySet[TurnText]) -> Any:
    """Whether a turn is among `texts`, by one look-up per turn: as EXISTS it might be planned as a join of all."""
    of_turn = texts.filter(pk=OuterRef("pk")).values_list(Value(True))[:1]
    return Coalesce(Subquery(of_turn, output_field=BooleanField()), Value(False), output_field=BooleanField())
