"""Find turns by words of their questions and answers, for those who may read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db import connection, transaction
from django.db.models import BooleanField, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from agents.models import TurnText
from agents.models.key_arrays import key_in

# So many of the newest matches are passed on. If there are more, a page is nearly always full with these.
LISTED_TURNS: Final = 2_000
# Words that are in every few turns have so many matches among so many of the newest turns, which are read in their own
# order. All others are looked up by the index of words, which knows no order. PostgreSQL cannot tell which are which:
# it reads a million turns for "invoice -march" where each invoice is one of March.
NEWEST_TURNS: Final = 20_000
ENOUGH: Final = 200
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
    def parts(self) -> list[Q]:
        """Conditions that part the matches into the newest and those before them; none if there are no others."""
        return [Q(key_in(self.turn_ids)), Q(pk__lt=self.turn_ids[-1])] if self.texts is not None else []


def find_turns(text: str, *, agent_ids: Sequence[UUID], before: UUID | None = None) -> TurnMatches:
    """The turns of these agents whose question or answer matches `text`, as `parse_search` reads it; of those
    `before` a turn only, if one is given."""
    query = parse_search(text) if len(text) <= MAX_SEARCH else None
    if query is None or not agent_ids:
        return TurnMatches(())
    texts = TurnText.objects.filter(document=query, agent__in=agent_ids)
    rows = TurnText.objects.filter(pk__lt=before) if before else TurnText.objects.all()
    keys = rows.order_by("-pk").values_list("pk", flat=True)
    matching_keys = keys.filter(document=query, agent__in=agent_ids)
    if (oldest := keys[NEWEST_TURNS : NEWEST_TURNS + 1].first()) is not None:
        with _plans_without("bitmapscan", "seqscan"):
            turn_ids = list(matching_keys.filter(pk__gt=oldest)[: LISTED_TURNS + 1])
        if len(turn_ids) >= ENOUGH:
            return TurnMatches(turn_ids, texts)
    with _plans_without("indexscan", "indexonlyscan", "seqscan"):
        turn_ids = list(matching_keys[: LISTED_TURNS + 1])
    return TurnMatches(turn_ids, texts if len(turn_ids) > LISTED_TURNS else None)


@contextmanager
def _plans_without(*methods: str) -> Iterator[None]:
    """A transaction whose statements get custom plans without these ways to read a table, where others will do."""
    with transaction.atomic(), connection.cursor() as cursor:
        settings = ["plan_cache_mode = force_custom_plan", *(f"enable_{method} = off" for method in methods)]
        cursor.execute("; ".join(f"SET LOCAL {setting}" for setting in settings))
        yield
        # The caller may be in a transaction of its own.
        cursor.execute("; ".join(f"SET LOCAL enable_{method} = on" for method in methods))


def _is_among(texts: QuerySet[TurnText]) -> Any:
    """Whether a turn is among `texts`, by one look-up per turn: as EXISTS it might be planned as a join of all."""
    of_turn = texts.filter(pk=OuterRef("pk")).values_list(Value(True))[:1]
    return Coalesce(Subquery(of_turn, output_field=BooleanField()), Value(False), output_field=BooleanField())
