"""Find sessions by title and by the text of their messages."""

from __future__ import annotations

from typing import Any

from django.db.models import BooleanField, F, Func, OuterRef, Q, QuerySet, Subquery, TextField, Value
from django.db.models.functions import Coalesce

from agents.models import AgentSession, Message
from foundation import strict_json

MAX_WORDS = 8

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


def _occurs_in_messages(word: str) -> Any:
    # A limited subquery instead of EXISTS, which the planner turned into a scan of everybody's messages.
    messages = Message.objects.filter(agent_session=OuterRef("pk")).annotate(texts=_TEXTS).order_by()
    escaped = strict_json.dumps(word).decode()[1:-1]
    matches = messages.filter(texts__icontains=escaped).values_list(Value(True))[:1]
    return Coalesce(Subquery(matches, output_field=BooleanField()), Value(False), output_field=BooleanField())
