"""Filters of the lists of sessions, turns and events."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, F, Func, Q, UUIDField, Value
from django.http import HttpRequest

from accounts.models import User
from agents.domain.events import EventType
from agents.domain.failures import ErrorClass
from agents.domain.response_fallbacks import Fallback
from agents.domain.states import OWNED, PARKED, TERMINAL, TurnStatus
from agents.models import Agent, AgentSession, Handoff, Release, Turn
from console.field_filters import ChoiceFilter, FieldFilter, TextFilter, require_choice
from console.keyset_changelist import parse_uuid

FINISHED, OPEN = Q(finished_at__isnull=False), Q(finished_at__isnull=True)
FAILED = (TurnStatus.EXPIRED.value, TurnStatus.FAILED.value)
ENDED_BADLY = sorted(TERMINAL - {TurnStatus.COMPLETED})
ERROR_CLASSES = tuple(error_class.value for error_class in ErrorClass if error_class.failure.ends_turns)
# Up to so many session ids go into a query one by one.
MAX_LISTED_SESSIONS = 10_000
# US dollars. Below the last of them are most turns, which no index serves.
COSTS = ("10", "1", "0.1", "0.01")


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
        Q(_key_in(set(session_ids)))
        if len(session_ids) <= MAX_LISTED_SESSIONS
        else Q(pk__in=turns.values("agent_session_id"))
    )


def _key_in(keys: Iterable[UUID]) -> Func:
    """The condition that the primary key is one of `keys`, which are passed as one array parameter."""
    array = Value(list(keys), output_field=ArrayField(UUIDField()))
    return Func(F("pk"), array, template="%(expressions)s)", arg_joiner=" = ANY(", output_field=BooleanField())


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
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        groups = [(name, label) for name, (label, _) in self.groups.items()]
        return [*groups, *((status.value, status.value.replace("_", " ")) for status in TurnStatus)]

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


class EventTypeFilter(ChoiceFilter):
    """By the known types of events: reading the distinct types from the table would scan all of it."""

    title, parameter_name, column = "type", "type", "type"
    values = tuple(event_type.value for event_type in EventType)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in self.values]
