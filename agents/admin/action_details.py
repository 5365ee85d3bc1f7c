"""What a confirmation says of the rows of an operator action, in words: whose they are, how old, what it may cost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Avg, Count, Max, Min, QuerySet
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Left

from accounts.models import User
from agents.admin.turn_numbers import TURN_NUMBER
from agents.domain.session_purposes import SessionPurpose
from agents.models import AgentSession, Message, Turn
from agents.permissions.transcripts import readable_agents
from agents.permissions.trials import sees_trials
from console.formatting import NOTHING, format_money, format_second
from foundation.clock import now
from foundation.durations import duration
from foundation.graphemes import cut_text

# So many of the rows are described one by one; ages and costs are of at most `MAX_ROWS`.
SHOWN_ROWS: Final = 20
MAX_ROWS: Final = 100_000
# The expected cost is what the newest answers of a release have cost.
SAMPLE: Final = 100
MAX_RELEASES: Final = 20
FIRST_CHARACTERS: Final = 80


def describe_rows(user: User | AnonymousUser, rows: QuerySet[Any]) -> list[str]:
    """The newest `SHOWN_ROWS` of turns or sessions in words, with the first words of those that `user` may read."""
    readable = set(readable_agents(user).values_list("pk", flat=True))
    if rows.model is Turn:
        return _describe_turns(user, list(rows.annotate(number=TURN_NUMBER)[:SHOWN_ROWS]), readable)
    sessions = rows.select_related("user", "agent", "release")[:SHOWN_ROWS]
    return [_describe_session(session, is_readable=session.agent_id in readable) for session in sessions]


def describe_session(user: User | AnonymousUser, session: AgentSession) -> str:
    """One session in words, with its title if `user` may read it."""
    return _describe_session(session, is_readable=readable_agents(user).filter(pk=session.agent_id).exists())


def _describe_turns(user: User | AnonymousUser, turns: Sequence[Any], readable: set[UUID]) -> list[str]:
    users = User.objects.in_bulk({turn.user_id for turn in turns})
    sessions = AgentSession.objects.select_related("agent").in_bulk({turn.agent_session_id for turn in turns})
    with_trials = sees_trials(user)
    readable_sessions = {
        key
        for key, session in sessions.items()
        if session.agent_id in readable and (with_trials or session.purpose == SessionPurpose.PRODUCTION)
    }
    texts = _first_words([turn for turn in turns if turn.agent_session_id in readable_sessions])
    return [
        _join(
            f"{_moment(turn.queued_at)}: turn {turn.number} of {users.get(turn.user_id, 'somebody')} with "
            f"{sessions[turn.agent_session_id].agent}, {turn.get_status_display()}",
            turn.error_class.replace("_", " "),
            texts.get(turn.pk, ""),
        )
        for turn in turns
    ]


def _first_words(turns: Sequence[Turn]) -> dict[UUID, str]:
    """The beginning of each question, by turn. A message may have some megabytes, which stay in the database."""
    text = KeyTextTransform("text", KeyTransform(0, "parts"))
    questions = Message.objects.filter(
        agent_session__in={turn.agent_session_id for turn in turns},
        turn__in=[turn.pk for turn in turns],
        author=Message.Author.USER,
    ).order_by("-ordinal")
    rows = questions.annotate(words=Left(text, 4 * FIRST_CHARACTERS)).values_list("turn_id", "words")
    return {turn_id: words or "" for turn_id, words in rows if turn_id is not None}


def _describe_session(session: AgentSession, *, is_readable: bool) -> str:
    open_turns = f"{session.open_turns} open" if session.open_turns else "nothing open"
    return _join(
        f"{_moment(session.updated_at)}: {session.user} with {session.agent}, {open_turns}",
        "",
        session.title if is_readable else "",
    )


def _join(facts: str, error: str, text: str) -> str:
    words = cut_text(" ".join(text.split()), FIRST_CHARACTERS, mark=" …")
    return "".join((facts, f", {error}" if error else "", f": “{words}”" if words else ""))


def _moment(at: Any) -> str:
    return f"{format_second(at)[:16]} UTC, {duration((now() - at).total_seconds())} ago"


def row_facts(rows: QuerySet[Any], *, with_cost: bool) -> list[tuple[str, str]]:
    """The span of time from which the rows are, and with `with_cost` what it may cost to ask them again."""
    newest: QuerySet[Any] = rows.model._default_manager.filter(pk__in=rows.values("pk")[:MAX_ROWS]).order_by()
    column = "queued_at" if rows.model is Turn else "updated_at"
    span = newest.aggregate(first=Min(column), last=Max(column))
    facts = []
    if span["first"] is not None:
        one_moment = span["first"] == span["last"]
        text = _moment(span["last"]) if one_moment else f"{_moment(span['first'])}, to {_moment(span['last'])}"
        facts.append(("From" if not one_moment else "Of", text))
    if with_cost:
        facts.append(("Expected cost", _expected_cost(newest)))
    return facts


def _expected_cost(turns: QuerySet[Any]) -> str:
    releases = list(turns.values_list("release").annotate(number=Count("pk")).order_by("-number")[: MAX_RELEASES + 1])
    costs = [(number, _mean_cost(release)) for release, number in releases[:MAX_RELEASES]]
    known = [number * mean for number, mean in costs if mean is not None]
    if not known:
        return f"{NOTHING} (what such answers cost is not known)"
    is_partial = len(known) < len(releases)
    return f"{format_money(sum(known, Decimal()), at_least=is_partial)} (as the newest answers of the same releases)"


def _mean_cost(release_id: UUID) -> Decimal | None:
    """The mean cost of the newest answers of a release; None if none has a known price."""
    ended = Turn.objects.filter(release_id=release_id, finished_at__isnull=False, status="completed")
    newest = ended.order_by("-pk").values("cost_usd")[:SAMPLE]
    mean: Decimal | None = newest.aggregate(mean=Avg("cost_usd"))["mean"]
    return mean
