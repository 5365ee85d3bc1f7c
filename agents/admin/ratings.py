"""Ratings of answers: their list, and how the pages of turns, agents and releases show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from agents.admin.badges import purpose_badge, rating_badge
from agents.admin.list_filters import AgentFilter, ReleaseFilter
from agents.models import IN_PRODUCTION, Feedback
from agents.permissions.transcripts import can_read_transcript, readable_agents
from agents.permissions.trials import visible_purposes
from agents.sessions.rating_counts import RatingCounts
from console.date_filters import SinceFilter, UntilFilter
from console.field_filters import FieldFilter, require_choice
from console.formatting import format_moment
from console.keyset_changelist import KeysetAdmin, parse_uuid


def rating_summary(counts: RatingCounts, **query: Any) -> SafeString | str:
    """The share of thumbs down among the ratings of turns: "12 % down, of 40", with a link to their list, which `query`
    filters."""
    if not counts.total:
        return "not rated"
    address = f"{reverse('admin:agents_feedback_changelist')}?{urlencode({**query, 'of': 'turns'})}"
    return format_html(
        '<a class="bs-link" href="{}">{} % down, of {}</a>', address, counts.down_percent, f"{counts.total:,}"
    )


class RatingAgentFilter(AgentFilter):
    """By the agent of the session."""

    def matching(self, value: str) -> Q:
        if (key := parse_uuid(value)) is None:
            raise IncorrectLookupParameters(value)
        return Q(agent_session__agent_id=key)


class ValueFilter(FieldFilter):
    """By thumbs up or down."""

    title = "rating"
    parameter_name = "value"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("down", "down"), ("up", "up")]

    def matching(self, value: str) -> Q:
        return Q(value=1 if require_choice(value, ["up", "down"]) == "up" else -1)


class RatedFilter(FieldFilter):
    """By what was rated: what counts in figures, or else."""

    title = "of"
    parameter_name = "of"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("turns", "answers of turns"), ("others", "copies in forks, answers of people, and trials")]

    def matching(self, value: str) -> Q:
        is_counted = Q(turn__isnull=False) & IN_PRODUCTION
        return is_counted if require_choice(value, ["turns", "others"]) == "turns" else ~is_counted


class CommentFilter(FieldFilter):
    """By whether there is a comment."""

    title = "comment"
    parameter_name = "comment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("yes", "with a comment")]

    def matching(self, value: str) -> Q:
        require_choice(value, ["yes"])
        return ~Q(comment="")


@admin.register(Feedback)
class FeedbackAdmin(KeysetAdmin):
    """Ratings, read-only, each with its comment for those who may read the transcript, and a link to its turn."""

    query_budget = 13

    list_display = ("created", "display_status", "display_agent", "user", "display_comment", "answer")
    list_display_links = ("created",)
    list_select_related = ("user", "agent_session__agent", "release")
    list_filter = (RatingAgentFilter, ReleaseFilter, ValueFilter, CommentFilter, RatedFilter, SinceFilter, UntilFilter)
    search_ids = ("id", "turn_id", "agent_session_id")
    search_words = ("user__username",)
    search_help_text = "The id of a turn or a session, or the name of a user."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Feedback]:
        rows: QuerySet[Feedback] = super().get_queryset(request)
        return rows.filter(visible_purposes(request.user))

    def complete(self, request: HttpRequest, rows: Sequence[Feedback]) -> None:
        readable = set(readable_agents(request.user).values_list("pk", flat=True))
        for rating in rows:
            row: Any = rating
            row.readable = rating.agent_session.agent_id in readable

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Without the comment for those who may not read the transcript."""
        fields: list[Any] = ["display_status", "display_agent", "user", "answer", "created_at", "updated_at"]
        if obj is not None and can_read_transcript(request.user, obj.agent_session.agent):
            fields.insert(1, "comment")
        return fields

    @admin.display(description="rated (UTC)")
    def created(self, rating: Feedback) -> str:
        return format_moment(rating.created_at)

    @admin.display(description="rating")
    def display_status(self, rating: Feedback) -> SafeString:
        return format_html("{} {}", rating_badge(rating.value), purpose_badge(rating.agent_session.purpose))

    @admin.display(description="agent")
    def display_agent(self, rating: Feedback) -> str:
        agent = rating.agent_session.agent
        return f"{agent} #{rating.release.number}" if rating.release else str(agent)

    @admin.display(description="comment")
    def display_comment(self, rating: Any) -> str:
        if not rating.comment:
            return ""
        return format_html('<bdi class="bs-words">{}</bdi>', rating.comment) if rating.readable else "(hidden)"

    @admin.display(description="answer")
    def answer(self, rating: Feedback) -> SafeString:
        session = reverse("admin:agents_agentsession_change", args=[rating.agent_session_id])
        if rating.turn_id is None:
            return format_html('<a class="bs-link" href="{}">in the session</a>', session)
        return format_html('<a class="bs-link" href="{}?turn={}">transcript</a>', session, rating.turn_id)
