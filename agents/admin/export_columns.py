"""What exports of sessions, turns and memories hold, and how the rows of one page are read: a few queries for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import Case, Count, JSONField, Sum, Value, When

from accounts.models import User
from agents.admin.turn_numbers import turn_numbers
from agents.domain.message_parts import plain_text
from agents.models import COST_UNKNOWN, AgentSession, Message, Release, Turn
from agents.permissions.transcripts import readable_agents
from agents.permissions.trials import visible_purposes
from console.list_export import ExportColumn
from foundation.graphemes import cut_text

# Of one message; longer ones stay in the database.
MAX_CHARACTERS: Final = 32_000
_MAX_BYTES: Final = 4 * MAX_CHARACTERS
_TOO_LONG: Final = "(too long for a list: see the transcript)"


def _seconds(begin: Any, end: Any) -> float | None:
    return None if begin is None or end is None else round((end - begin).total_seconds(), 3)


def _column(name: str, path: str = "") -> ExportColumn:
    """A column of an attribute, by its name or by a `path` of names."""
    names = (path or name).split(".")

    def value(row: Any) -> Any:
        for part in names:
            row = getattr(row, part) if row is not None else None
        return row

    return ExportColumn(name, value)


def _text(name: str, path: str) -> ExportColumn:
    return ExportColumn(name, lambda row: str(getattr(row, path)))


TURN_COLUMNS: Final = (
    _column("id"),
    _column("session", "agent_session_id"),
    _column("number"),
    _text("user", "user"),
    _column("agent", "release.agent.slug"),
    _column("release", "release.number"),
    _column("status"),
    _column("error_class"),
    _column("error_id"),
    _column("fallback"),
    _column("queued_at"),
    _column("started_at"),
    _column("finished_at"),
    ExportColumn("queue_seconds", lambda turn: _seconds(turn.queued_at, turn.started_at)),
    ExportColumn("duration_seconds", lambda turn: _seconds(turn.started_at, turn.finished_at)),
    _column("input_tokens"),
    _column("output_tokens"),
    _column("cost_usd"),
    ExportColumn("question", lambda turn: turn.question, is_content=True),
    ExportColumn("answer", lambda turn: turn.answer, is_content=True),
)

SESSION_COLUMNS: Final = (
    _column("id"),
    _text("user", "user"),
    _column("agent", "agent.slug"),
    _column("release", "release.number"),
    _column("created_at"),
    _column("updated_at"),
    _column("controller"),
    _column("listed"),
    _column("turns", "turn_count"),
    _column("open_turns"),
    _column("cost_usd"),
    _column("cost_complete"),
    ExportColumn("title", lambda session: session.exported_title, is_content=True),
)


# Those of `TURN_COLUMNS`, and the ordinal for the number.
_TURN_FIELDS: Final = (
    "agent_session", "user", "release", "ordinal", "status", "error_class", "error_id", "fallback", "queued_at",
    "started_at", "finished_at", "input_tokens", "output_tokens", "cost_usd",
)  # fmt: skip


def read_turns(keys: Sequence[UUID]) -> list[Turn]:
    """The turns of `keys` in that order, with user, release and agent, each of which is read once for all turns."""
    by_key = Turn.objects.only(*_TURN_FIELDS).in_bulk(keys)
    turns = [by_key[key] for key in keys if key in by_key]
    users = User.objects.only("username").in_bulk({turn.user_id for turn in turns})
    releases = Release.objects.select_related("agent").only("number", "agent__slug")
    by_release = releases.in_bulk({turn.release_id for turn in turns})
    for turn in turns:
        turn.user, turn.release = users[turn.user_id], by_release[turn.release_id]
    return turns


def add_turn_values(turns: Sequence[Turn], user: User, *, with_contents: bool) -> None:
    """Add `number` to turns, and with `with_contents` `question` and `answer`, None for whom `user` may not read."""
    numbers, texts = turn_numbers(turns), _texts(turns, user) if with_contents else {}
    for turn in turns:
        row: Any = turn
        row.number = numbers.get(turn.pk)
        row.question, row.answer = texts.get((turn.pk, "user")), texts.get((turn.pk, "agent"))


def _texts(turns: Iterable[Turn], user: User) -> dict[tuple[UUID, str], str]:
    readable = set(readable_agents(user).values_list("pk", flat=True))
    keys = [turn.pk for turn in turns if turn.release.agent_id in readable]
    is_short = When(size_bytes__lte=_MAX_BYTES, then="parts")
    messages = Message.objects.filter(visible_purposes(user), turn__in=keys, author__in=("user", "agent")).order_by(
        "-ordinal"
    )
    parts = Case(is_short, default=Value(None, JSONField()), output_field=JSONField())
    return {
        (turn_id, author): _TOO_LONG if value is None else cut_text(plain_text(value), MAX_CHARACTERS, mark=" …")
        for turn_id, author, value in messages.annotate(short=parts).values_list("turn_id", "author", "short")
        if turn_id is not None
    }


def add_session_values(sessions: Sequence[AgentSession], user: User, *, with_contents: bool) -> None:
    """Add the number of turns and their cost to sessions, and with `with_contents` the title, None for whom `user` may
    not read."""
    readable = set(readable_agents(user).values_list("pk", flat=True)) if with_contents else set()
    turns = Turn.objects.filter(agent_session__in=[session.pk for session in sessions]).order_by()
    totals = {
        total["agent_session_id"]: total
        for total in turns.values("agent_session_id").annotate(
            turns=Count("pk"), cost=Sum("cost_usd"), no_cost=Count("pk", filter=COST_UNKNOWN)
        )
    }
    for session in sessions:
        row: Any = session
        total = totals.get(session.pk, {"turns": 0, "cost": None, "no_cost": 0})
        row.turn_count, row.cost_usd, row.cost_complete = total["turns"], total["cost"], not total["no_cost"]
        row.exported_title = session.title if session.agent_id in readable else None
