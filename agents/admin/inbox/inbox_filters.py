"""The views of the inbox, its filters, and what counts as waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q
from django.http import HttpRequest

from accounts.models import User
from agents.admin.list_filters import AgentFilter, UserFilter
from agents.domain.approvals import ApprovalState, Decider
from agents.domain.handoffs import HandoffPriority, HandoffSource, HandoffState
from agents.models import IN_PRODUCTION, Approval, Handoff
from agents.permissions.role_permissions import VIEW_APPROVAL, VIEW_HANDOFF
from agents.permissions.transcripts import readable_agents
from console.field_filters import ChoiceFilter, FieldFilter, require_choice
from console.keyset_changelist import parse_uuid
from console.list_head import ListTab
from foundation.clock import now

# More are not counted.
MOST_COUNTED: Final = 1_000
# Builders who try something out wait for nobody.
UNRESOLVED: Final = ~Q(state=HandoffState.RESOLVED.value) & IN_PRODUCTION
_UNANSWERED: Final = Q(state=HandoffState.PENDING.value) | Q(
    state=HandoffState.OPEN.value, last_user_message_at__isnull=False
)
# The user waits for words of a person.
WAITING: Final = UNRESOLVED & _UNANSWERED
WAITING_VIEW: Final = "waiting"
# Those that show what is over, too.
NEWEST_FIRST: Final = frozenset({"resolved", "all"})
_NOTHING: Final = Q(pk__in=[])
_HANDOFFS: Final = "admin:agents_handoff_changelist"
_APPROVALS: Final = "admin:agents_approval_changelist"
_HANDOFF_VIEWS: Final = {
    "Waiting": WAITING_VIEW, "Mine": "mine", "All open": "open", "Snoozed": "snoozed", "Resolved": "resolved",
}  # fmt: skip


def inbox_tabs(*, of_approvals: bool) -> tuple[ListTab, ...]:
    """The tabs of the inbox, as its list of handoffs or of approvals shows them."""
    handoffs = [
        ListTab(
            title,
            {"show": name},
            view=_HANDOFFS if of_approvals else "",
            is_default=name == WAITING_VIEW and not of_approvals,
        )
        for title, name in _HANDOFF_VIEWS.items()
    ]
    view = "" if of_approvals else _APPROVALS
    approvals = [ListTab("Approvals", {"state": "waiting"}, view=view, is_default=of_approvals)]
    if of_approvals:
        approvals.append(ListTab("Decided", {"state": "decided"}))
    return (*handoffs, *approvals)


def readable_agent_ids(user: Any) -> list[UUID]:
    """The agents of which `user` sees handoffs and approvals: those whose transcripts they may read."""
    return list(readable_agents(user).values_list("pk", flat=True))


def inbox_search(term: str, *, ids: Sequence[str], otherwise: Q = _NOTHING) -> Q:
    """The condition of a search: one of the columns `ids` is the id `term`, or the session's user has this name; where
    nobody has it, `otherwise`. Each has an index of its own: with the name in one condition, PostgreSQL would join all
    rows."""
    if (key := parse_uuid(term)) is not None:
        condition = _NOTHING
        for column in ids:
            condition |= Q(**{column: key})
        return condition
    user_id = None if "\x00" in term else User.objects.filter(username=term).values_list("pk", flat=True).first()
    return otherwise if user_id is None else Q(agent_session__user_id=user_id)


def count_waiting(user: Any) -> tuple[int, int]:
    """How many people wait for a person, and how many approvals for an operator, as far as `user` may see them."""
    agents = readable_agent_ids(user)
    people = Handoff.objects.filter(WAITING, agent_session__agent__in=agents) if user.has_perm(VIEW_HANDOFF) else None
    calls = None
    if user.has_perm(VIEW_APPROVAL):
        calls = Approval.objects.filter(PENDING, decider=Decider.OPERATOR.value, agent__in=agents)
        calls = calls.filter(expires_at__gt=now())
    return _count(people), _count(calls)


def _count(rows: Any) -> int:
    return 0 if rows is None else rows.order_by()[:MOST_COUNTED].count()


PENDING: Final = Q(state=ApprovalState.PENDING.value)


class ShowFilter(FieldFilter):
    """The views of the inbox. Without one: who waits, or whatever the search finds."""

    title = "view"
    parameter_name = "show"
    views: ClassVar[dict[str, tuple[str, Q]]] = {
        WAITING_VIEW: ("waiting", WAITING),
        "mine": ("mine", UNRESOLVED),
        "open": ("all open", UNRESOLVED & ~Q(state=HandoffState.SNOOZED.value)),
        "snoozed": ("snoozed", UNRESOLVED & Q(state=HandoffState.SNOOZED.value)),
        "resolved": ("resolved", Q(state=HandoffState.RESOLVED.value)),
        "all": ("all", Q()),
    }

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self._user_id = request.user.pk
        self._is_search = bool(request.GET.get("q", "").strip())
        super().__init__(request, *args)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, title) for name, (title, _) in self.views.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.selected() and not self._is_search:
            return queryset.filter(WAITING)
        return super().queryset(request, queryset)

    def matching(self, value: str) -> Q:
        _, condition = self.views[require_choice(value, list(self.views))]
        return condition & Q(assignee=self._user_id) if value == "mine" else condition


class HandoffAgentFilter(AgentFilter):
    """By the agent of the session."""

    def matching(self, value: str) -> Q:
        if (key := parse_uuid(value)) is None:
            raise IncorrectLookupParameters(value)
        return Q(agent_session__agent_id=key)


class SessionUserFilter(UserFilter):
    """By the exact name of the user of the session."""

    def matching(self, value: str) -> Q:
        key = User.objects.filter(username=value).values_list("pk", flat=True).first()
        return Q(pk__in=[]) if key is None else Q(agent_session__user_id=key)


class PriorityFilter(FieldFilter):
    """By the priority."""

    title = "priority"
    parameter_name = "priority"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(priority.name.lower(), priority.name.lower()) for priority in HandoffPriority]

    def matching(self, value: str) -> Q:
        names = {priority.name.lower(): priority for priority in HandoffPriority}
        return Q(priority=names[require_choice(value, list(names))].value)


class HandoffSourceFilter(ChoiceFilter):
    """By who wanted a person."""

    title, parameter_name, column = "asked by", "by", "requested_by"
    values = tuple(source.value for source in HandoffSource)


class ApprovalStateFilter(FieldFilter):
    """By whether it still has to be decided. Without a choice: what waits, or whatever the search finds."""

    title = "state"
    parameter_name = "state"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self._is_search = bool(request.GET.get("q", "").strip())
        super().__init__(request, *args)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        decided = [(state.value, state.value) for state in ApprovalState if state is not ApprovalState.PENDING]
        return [("waiting", "waiting"), ("decided", "decided"), *decided]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.selected() and not self._is_search:
            return queryset.filter(PENDING)
        return super().queryset(request, queryset)

    def matching(self, value: str) -> Q:
        require_choice(value, [name for name, _ in self.lookup_choices])
        return PENDING if value == "waiting" else ~PENDING if value == "decided" else Q(state=value)


class DeciderFilter(ChoiceFilter):
    """By who may decide."""

    title, parameter_name, column = "decided by", "decider", "decider"
    values = tuple(decider.value for decider in Decider)


class ApprovalAgentFilter(AgentFilter):
    """By agent, which the row names."""

    def matching(self, value: str) -> Q:
        return self.condition(value, of_turns=False)
