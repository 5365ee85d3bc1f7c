"""Find sessions by title and by the text of their messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError
from django.db.models import BooleanField, F, Func, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce

from agents.models import AgentSession, Message
from foundation import strict_json
from foundation.db_timeouts import is_timeout, statement_timeout
from foundation.errors import Unavailable

MAX_WORDS = 8
# Less than the timeout of other statements: a search reads much, and others wait for the same disk and processors.
SEARCH_SECONDS = 3.0


class SearchTooSlow(Unavailable):
    """This search took too long. Search for a longer or rarer word, or try again later."""

    code = "search_too_slow"


# The texts of a message's parts, without reasoning: a list of strings, as JSON text.
_TEXTS = Func(
    F("parts"),
    template="""jsonb_path_query_array(%(expressions)s, '$[*] ? (@.type == "text").text')::text""",
    output_field=TextField(),
)


def search_filter(sessions: QuerySet[AgentSession], text: str) -> QuerySet[AgentSession]:
    """Those of `sessions` in whose title or messages each word of `text` occurs, in any case, also within a word.

    It reads the messages of one session after the other, newest session first, until there are enough results,
    so `sessions` must be of one user: 10,000 of them with ten messages each took 0.5 s where nothing was found.
    """
    for word in text.split()[:MAX_WORDS]:
        sessions = sessions.filter(Q(title__icontains=word) | Q(_occurs_in_messages(word)))
    return sessions


@contextmanager
def search_time_limit() -> Iterator[None]:
    """Bound each statement of the block by `SEARCH_SECONDS`. Raises `SearchTooSlow`."""
    with statement_timeout(SEARCH_SECONDS):
        try:
            yield
        except OperationalError as error:
            if is_timeout(error):
                raise SearchTooSlow(retry_after_seconds=SEARCH_SECONDS) from error
            raise


def _occurs_in_messages(word: str) -> Any:
    # A limited subquery instead of EXISTS, which the planner turned into a scan of everybody's messages.
    messages = Message.objects.filter(agent_session=OuterRef("pk")).annotate(texts=_TEXTS).order_by()
    escaped = strict_json.dumps(word).decode()[1:-1]
    matches = messages.filter(texts__icontains=escaped).values_list(Value(True))[:1]
    return Coalesce(Subquery(matches, output_field=BooleanField()), Value(False), output_field=BooleanField())
