"""Filters of the lists of sessions, turns and events."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q
from django.db.models.lookups import GreaterThanOrEqual
from django.http import HttpRequest

from accounts.models import User
from agents.domain.events import EventType
from agents.domain.failures import ERROR_CLASSES, SILENT_CLASSES
from agents.domain.response_fallbacks import Fallback
from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import OWNED, PARKED, TERMINAL, TurnStatus
from agents.journal.rollups import CLOCKS_DIFFER, ended_between
from agents.models import (
    DEADLINE_IS_OVERDUE,
    DURATION,
    IN_PRODUCTION,
    LEASE_IS_OVERDUE,
    UNANSWERED_FAILURE,
    Agent,
    AgentSession,
    Feedback,
    Handoff,
    Release,
    Runner,
    Turn,
)
from agents.models.key_arrays import key_in
from agents.permissions.role_permissions import VIEW_TRANSCRIPT
from agents.permissions.transcripts import readable_agents
from agents.permissions.trials import sees_trials
from agents.sessions.turn_search import TurnMatches, find_turns
from console.date_filters import SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter, FieldFilter, TextFilter, require_choice
from console.keyset_changelist import parse_uuid
from console.list_head import BEFORE
from foundation.clock import now
from foundation.ids import lowest_id

FINISHED, OPEN = Q(finished_at__isnull=False), Q(finished_at__isnull=True)
FAILED = (TurnStatus.EXPIRED.value, TurnStatus.FAILED.value)
ENDED_BADLY = sorted(TERMINAL - {TurnStatus.COMPLETED})
# Of the ends of turns: what is before and after a time must fit an id, too.
YEARS = (2000, 9000)
# Up to so many session ids go into a query one by one.
MAX_LISTED_SESSIONS = 10_000
# US dollars. Below the last of them are most turns, which no index serves.
COSTS = ("10", "1", "0.1", "0.01")
# Seconds. Below `agents.models.SLOW` are most turns, too.
DURATIONS = {"30": "30 s or more", "60": "1 min or more", "300": "5 min or more", "1800": "30 min or more"}


class IndexedFilter(FieldFilter):
    """A filter of turns or of sessions, whose condition an index can serve."""

    def matching(self, value: str) -> Q:
        return self.condition(value, of_turns=self.model is Turn)

    def condition(self, value: str, *, of_turns: bool) -> Q:
        """The condition for `value`, on turns or on sessions. Raises `IncorrectLookupParameters`."""
        raise NotImplementedError


def _having_turn(condition: Q) -> Q:
    """The condition on sessions that have a turn matching `condition`.

    Up to `MAX_LISTED_SESSIONS` ids are listed in the query. With more matches, PostgreSQL soon fills a page by walking
    through the sessions; with few it would walk through all sessions of an agent, which takes half a second.
    """
    turns = Turn.objects.filter(condition).order_by()
    session_ids = list(turns.values_list("agent_session_id", flat=True)[: MAX_LISTED_SESSIONS + 1])
    return (
        Q(key_in(set(session_ids)))
        if len(session_ids) <= MAX_LISTED_SESSIONS
        else Q(pk__in=turns.values("agent_session_id"))
    )


class AgentFilter(IndexedFilter):
    """By agent; of turns by its releases."""

    title = "agent"
    parameter_name = "agent"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        agents = Agent.objects.order_by("name", "slug").values_list("pk", "name", "archived_at")[:200]
        return [(str(key), f"{name} (archived)" if archived else name) for key, name, archived in agents]

    def condition(self, value: str, *, of_turns: bool) -> Q:
        key = parse_uuid(value)
        if key is None:
            raise IncorrectLookupParameters(value)
        if not of_turns:
            return Q(agent_id=key)
        self._releases = list(Release.objects.filter(agent_id=key).values_list("pk", flat=True))
        return Q(release_id__in=self._releases)

    def arms(self) -> list[Q]:
        releases = getattr(self, "_releases", [])
        # Many releases together match so much of the table that reading it in its own order is as fast.
        listed = releases if len(releases) <= 20 else []
        return (
            [FINISHED & Q(release_id=release) for release in listed] + [OPEN & Q(release_id__in=listed)]
            if listed
            else []
        )


class ReleaseFilter(IndexedFilter):
    """By release, of the selected agent."""

    title = "release"
    parameter_name = "release"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """The releases of the selected agent, and the release named in the query string."""
        condition = Q(agent_id=parse_uuid(request.GET.get("agent", ""))) | Q(
            pk=parse_uuid(request.GET.get("release", ""))
        )
        releases = Release.objects.filter(condition).order_by("agent__name", "-number")
        return [
            (str(key), f"{agent} #{number}")
            for key, agent, number in releases.values_list("pk", "agent__name", "number")[:200]
        ]

    def has_output(self) -> bool:
        return bool(self.lookup_choices) or bool(self.value())

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        self._release = parse_uuid(value)
        if self._release is None:
            raise IncorrectLookupParameters(value)
        return Q(release_id=self._release)

    def arms(self) -> list[Q]:
        return [FINISHED, OPEN] if getattr(self, "_release", None) else []


class UserFilter(TextFilter, IndexedFilter):
    """By the exact name of the user."""

    title = "user"
    parameter_name = "user"

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        self._user = User.objects.filter(username=value).values_list("pk", flat=True).first()
        return Q(pk__in=[]) if self._user is None else Q(user_id=self._user)

    def arms(self) -> list[Q]:
        return [FINISHED, OPEN] if getattr(self, "_user", None) else []


class TurnStatusFilter(IndexedFilter):
    """By the status of a turn, or by several that mean the same to people."""

    title = "status"
    parameter_name = "state"
    # The conditions on the columns beside the status are redundant, but match those of partial indexes.
    groups: ClassVar[dict[str, tuple[str, Q]]] = {
        "open": ("not ended", OPEN),
        "any_failed": ("failed or expired", Q(status__in=FAILED) & FINISHED),
        "any_running": ("with a runner", Q(status__in=sorted(OWNED), lease_expires_at__isnull=False)),
        "any_waiting": ("waiting, also to retry", Q(status__in=sorted(PARKED)) & OPEN),
        "stuck": ("stuck", LEASE_IS_OVERDUE | DEADLINE_IS_OVERDUE),
        "stopped": (
            "stopped by somebody",
            Q(status=TurnStatus.CANCELLED) & FINISHED | Q(status__in=FAILED, error_class__in=SILENT_CLASSES) & FINISHED,
        ),
        # Without those that operators failed.
        "unanswered": ("failed and not answered since", UNANSWERED_FAILURE & FINISHED),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        groups = [(name, label) for name, (label, _) in self.groups.items()]
        return [*groups, *((status.value, status.value.replace("_", " ")) for status in TurnStatus)]

    def arms(self) -> list[Q]:
        return [LEASE_IS_OVERDUE, DEADLINE_IS_OVERDUE] if self.selected() == "stuck" else []

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        if value in self.groups:
            return self.groups[value][1]
        status = TurnStatus(require_choice(value, [status.value for status in TurnStatus]))
        return Q(status=status) & (FINISHED if status in TERMINAL else OPEN)


class SessionStatusFilter(IndexedFilter):
    """By what happens in a session."""

    title = "status"
    parameter_name = "state"
    statuses: ClassVar[dict[str, tuple[str, Q]]] = {
        "open": ("a turn is open", Q(open_turns__gt=0)),
        "running": ("a turn is being answered", Q(active_turn_id__isnull=False)),
        "waiting": ("a turn waits, none is being answered", Q(open_turns__gt=0, active_turn_id__isnull=True)),
        "idle": ("nothing is open", Q(open_turns=0)),
        "handoff": (
            "a person was asked for",
            Q(pk__in=Handoff.objects.exclude(state=Handoff.State.RESOLVED).values("agent_session")),
        ),
        "human": ("a person answers", Q(controller=AgentSession.Controller.HUMAN)),
        "unlisted": ("kept off the chat list", Q(listed=False)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, label) for name, (label, _) in self.statuses.items()]

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        return self.statuses[require_choice(value, list(self.statuses))][1]


class PurposeFilter(IndexedFilter):
    """By what the session is for, for those who see more than production."""

    title = "purpose"
    parameter_name = "purpose"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self._is_useful = sees_trials(request.user)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(purpose.name.lower(), purpose.name.lower()) for purpose in SessionPurpose]

    def has_output(self) -> bool:
        return self._is_useful

    def condition(self, value: str, *, of_turns: bool) -> Q:
        names = {purpose.name.lower(): purpose.value for purpose in SessionPurpose}
        purpose = names[require_choice(value, list(names))]
        if not of_turns:
            return Q(purpose=purpose)
        return Q(agent_session__purpose=purpose) if purpose else IN_PRODUCTION


class ErrorFilter(IndexedFilter):
    """Filters turns; on sessions, those that have a matching turn."""

    title = "error"
    parameter_name = "error"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("any", "any"), *((name, name.replace("_", " ")) for name in ERROR_CLASSES)]

    def condition(self, value: str, *, of_turns: bool) -> Q:
        require_choice(value, ["any", *ERROR_CLASSES])
        condition = Q(status__in=ENDED_BADLY) & (~Q(error_class="") if value == "any" else Q(error_class=value))
        return condition if of_turns else _having_turn(condition)


class FallbackFilter(IndexedFilter):
    """By what turns ended with in place of an answer of their agent's models."""

    title = "fallback"
    parameter_name = "fallback"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("any", "any"), *((name.value, name.replace("_", " ")) for name in Fallback)]

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        return _has_fallback(require_choice(value, ["any", *Fallback]))

    def arms(self) -> list[Q]:
        return [_has_fallback(name) for name in Fallback] if self.value() == "any" else []


def _has_fallback(name: str) -> Q:
    return Q(fallback__isnull=False) if name == "any" else Q(fallback=str(name))


class CostFilter(IndexedFilter):
    """Filters turns; on sessions, those that have a matching turn."""

    title = "cost of a turn"
    parameter_name = "cost"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(cost, f"${cost} or more") for cost in COSTS]

    def condition(self, value: str, *, of_turns: bool) -> Q:
        condition = Q(cost_usd__gte=Decimal(require_choice(value, COSTS)))
        return condition if of_turns else _having_turn(condition)


def _require_near(moment: datetime, value: str) -> datetime:
    """`moment`, of the years that can be reckoned with. Raises `IncorrectLookupParameters` for others."""
    if not YEARS[0] <= moment.year < YEARS[1]:
        raise IncorrectLookupParameters(value)
    return moment


class EndedSinceFilter(SinceFilter):
    """Turns that ended from this minute on, or from the start of this day."""

    title = "ended from (UTC)"
    parameter_name = "ended_since"

    def parse(self, value: str) -> datetime:
        return _require_near(super().parse(value), value)

    def condition_since(self, timestamp: datetime) -> Q:
        return ended_between(timestamp, max(now(), timestamp) + timedelta(days=1))


class EndedUntilFilter(UntilFilter):
    """Turns that ended before this minute, or before the end of this day."""

    title = "ended until (UTC)"
    parameter_name = "ended_until"

    def parse(self, value: str) -> datetime:
        return _require_near(super().parse(value), value)

    def condition_before(self, timestamp: datetime) -> Q:
        return Q(finished_at__lt=timestamp, pk__lt=lowest_id(timestamp + CLOCKS_DIFFER))


class DurationFilter(IndexedFilter):
    """By the time from the admission of a turn to its end; on sessions, those that have a matching turn."""

    title = "time to the end"
    parameter_name = "duration"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return list(DURATIONS.items())

    def condition(self, value: str, *, of_turns: bool) -> Q:
        seconds = timedelta(seconds=int(require_choice(value, list(DURATIONS))))
        condition = Q(GreaterThanOrEqual(DURATION, seconds))
        return condition if of_turns else _having_turn(condition)


class RatingFilter(IndexedFilter):
    """By the rating of a turn's answer; on sessions, those with a rated answer."""

    title = "rated"
    parameter_name = "rated"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("down", "down"), ("up", "up"), ("any", "up or down")]

    def condition(self, value: str, *, of_turns: bool) -> Q:
        values = {"up": [1], "down": [-1], "any": [1, -1]}
        ratings = Feedback.objects.filter(value__in=values[require_choice(value, list(values))]).order_by()
        if of_turns:
            return Q(pk__in=ratings.filter(turn__isnull=False).values("turn"))
        return Q(pk__in=ratings.values("agent_session"))


class WordsFilter(TextFilter):
    """By words of the question or the answer, of agents whose transcripts the user may read."""

    title = "words"
    parameter_name = "words"
    placeholder = '"exact phrase" begin* -without'
    is_private = True

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self._user = request.user
        self._agent = parse_uuid(request.GET.get(AgentFilter.parameter_name, ""))
        # An action is done to all that match, whichever page it is posted from.
        self._before = parse_uuid(request.GET.get(BEFORE, "")) if request.method == "GET" else None
        self._matches = TurnMatches(())

    def has_output(self) -> bool:
        return self._user.has_perm(VIEW_TRANSCRIPT) or bool(self.value())

    def matching(self, value: str) -> Q:
        agents = readable_agents(self._user)
        # Else the newest matches may all be of other agents than the selected one.
        agents = agents.filter(pk=self._agent) if self._agent else agents
        readable = list(agents.values_list("pk", flat=True))
        self._matches = find_turns(value, agent_ids=readable, before=self._before)
        return self._matches.condition

    def parts(self) -> list[Q]:
        """The matches in parts, the newest first; empty: not parted."""
        return self._matches.parts


class EventTypeFilter(ChoiceFilter):
    """By the known types of events: reading the distinct types from the table would scan all of it."""

    title, parameter_name, column = "type", "type", "type"
    values = tuple(event_type.value for event_type in EventType)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in self.values]


class AliveFilter(FieldFilter):
    """Of runners: whether they take turns and have reported themselves lately."""

    title = "alive"
    parameter_name = "alive"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("yes", "yes"), ("no", "no")]

    def matching(self, value: str) -> Q:
        alive = Q(pk__in=Runner.objects.alive().values("pk"))
        return alive if require_choice(value, ["yes", "no"]) == "yes" else ~alive
