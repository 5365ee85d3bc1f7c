"""What operators do on the page of a handoff: each action with its label, its form and the verb that it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django import forms
from django.db.models import QuerySet

from accounts.actor import Actor
from accounts.models import User
from agents.admin.inbox.inbox_labels import operator_name
from agents.domain.handoffs import HandoffPriority, HandoffState
from agents.models import Agent, AgentSession, Handoff, OperatorDuty
from agents.permissions.duty import DUTY_PERMISSIONS
from agents.sessions import handoff_control as control
from console.widgets import Select, Textarea
from foundation.clock import now

_SNOOZES: Final = [(30, "30 minutes"), (60, "1 hour"), (240, "4 hours"), (1_440, "1 day"), (10_080, "1 week")]
_HOURS: Final = [(1, "1 hour"), (2, "2 hours"), (4, "4 hours"), (8, "8 hours")]


class TakeOverForm(forms.Form):
    """Whether to do it although another operator answers."""

    take_over = forms.BooleanField(required=False, widget=forms.HiddenInput)


class ReplyForm(forms.Form):
    """The words for the user. The key makes one message of a form that is sent twice."""

    text = forms.CharField(label="Your reply", strip=False, widget=Textarea({"rows": 4}))
    key = forms.UUIDField(widget=forms.HiddenInput)
    take_over = forms.BooleanField(required=False, widget=forms.HiddenInput)


class NoteForm(forms.Form):
    """Words for other operators. The key makes one note of a form that is sent twice."""

    text = forms.CharField(label="Note", strip=False, widget=Textarea({"rows": 3}), help_text="Only operators see it.")
    key = forms.UUIDField(widget=forms.HiddenInput)


class SnoozeForm(forms.Form):
    """For how long a handoff is out of sight."""

    minutes = forms.TypedChoiceField(label="For", choices=_SNOOZES, coerce=int, widget=Select, initial=60)


class PriorityForm(forms.Form):
    """How soon it is to be served."""

    priority = forms.TypedChoiceField(
        label="Priority",
        choices=[(priority.value, priority.name.lower()) for priority in HandoffPriority],
        coerce=int,
        widget=Select,
    )


class AssignForm(forms.Form):
    """Who is to answer: an operator on duty, or whoever is assigned now."""

    assignee = forms.TypedChoiceField(label="Assignee", required=False, coerce=int, empty_value=None, widget=Select)

    def __init__(self, *args: Any, handoff: Handoff, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = {duty.user_id: duty.user for duty in operators_on_duty(handoff.agent_session.agent)}
        if handoff.assignee is not None:
            people[handoff.assignee.pk] = handoff.assignee
        choices = [(key, operator_name(user)) for key, user in people.items()]
        field: Any = self.fields["assignee"]
        field.choices = [("", "whoever comes"), *choices]


class DutyForm(forms.Form):
    """For how long somebody is there."""

    hours = forms.TypedChoiceField(label="I am there for", choices=_HOURS, coerce=int, widget=Select, initial=8)


def operators_on_duty(agent: Agent | None = None) -> QuerySet[OperatorDuty]:
    """Who is on duty now and may answer still, with their users; the one who goes last is the last. With `agent`, those
    of its groups, if it has any."""
    duties = OperatorDuty.objects.filter(until__gt=now())
    for permission in DUTY_PERMISSIONS:
        duties = duties.filter(user__in=User.objects.with_perm(permission))
    if agent is not None and (groups := list(agent.groups.values_list("pk", flat=True))):
        duties = duties.filter(user__groups__in=groups).distinct()
    return duties.select_related("user").order_by("until", "pk")


@dataclass(frozen=True, slots=True)
class HandoffAction:
    """An action on a session that is, or is to be, in the hands of an operator.

    `run(actor, session_id, data)` raises `BandstandError`; `data` is what the form has, if there is one. `needs_open`:
    it is about a handoff that is not over, and not about another one that the session has by then. `takes_over`: who
    does it answers from then on.
    """

    name: str
    label: str
    description: str
    done: str
    run: Callable[[Actor, UUID, Mapping[str, Any]], object]
    form: type[forms.Form] | None = None
    needs_open: bool = False
    takes_over: bool = False

    def make_form(self, data: Any, handoff: Handoff, **kwargs: Any) -> forms.Form | None:
        """The form with `data` (None: not sent yet), as `handoff` is now."""
        if self.form is None:
            return None
        initial = {"priority": handoff.priority, "assignee": handoff.assignee_id or ""}
        if self.form is AssignForm:
            kwargs["handoff"] = handoff
        # Each form of the page has ids of its own.
        return self.form(data, initial={**initial, **kwargs.pop("initial", {})}, auto_id=f"{self.name}_%s", **kwargs)


_STOPS: Final = "The agent stops at once, what it has said so far stays, and the user reads that a person answers."

CLAIM = HandoffAction(
    "claim",
    "Claim",
    f"You answer from now on. {_STOPS}",
    "You answer from now on.",
    lambda actor, key, data: control.claim_handoff(actor, session_id=key, take_over=bool(data.get("take_over"))),
    TakeOverForm,
    takes_over=True,
)
REPLY = HandoffAction(
    "reply",
    "Send",
    f"Sending takes over. {_STOPS}",
    "Sent.",
    lambda actor, key, data: control.reply_as_human(
        actor, session_id=key, text=data["text"], key=str(data["key"]), take_over=bool(data.get("take_over"))
    ),
    ReplyForm,
    takes_over=True,
)
RETURN = HandoffAction(
    "return",
    "Return to the agent",
    "The agent answers the user's next message; it reads what was said meanwhile. Nothing is asked again by itself.",
    "The agent answers again.",
    lambda actor, key, data: control.return_to_agent(actor, session_id=key, take_over=bool(data.get("take_over"))),
    TakeOverForm,
    needs_open=True,
)
RESOLVE = HandoffAction(
    "resolve",
    "Resolve",
    "What the user wanted is done. The agent answers what comes next.",
    "Resolved.",
    lambda actor, key, data: control.resolve_handoff(actor, session_id=key, take_over=bool(data.get("take_over"))),
    TakeOverForm,
    needs_open=True,
)
SNOOZE = HandoffAction(
    "snooze",
    "Snooze",
    "It is out of sight until then, or until the user writes. Who answers does not change.",
    "Snoozed.",
    lambda actor, key, data: control.snooze_handoff(
        actor, session_id=key, until=now() + timedelta(minutes=data["minutes"])
    ),
    SnoozeForm,
    needs_open=True,
)
PRIORITY = HandoffAction(
    "priority",
    "Set priority",
    "Lists show what is urgent first.",
    "The priority is set.",
    lambda actor, key, data: control.set_handoff_priority(
        actor, session_id=key, priority=HandoffPriority(data["priority"])
    ),
    PriorityForm,
    needs_open=True,
)
ASSIGN = HandoffAction(
    "assign",
    "Assign",
    "It is theirs to answer. Who controls the session does not change by it.",
    "Assigned.",
    lambda actor, key, data: control.assign_handoff(actor, session_id=key, assignee_id=data["assignee"]),
    AssignForm,
    needs_open=True,
)
NOTE = HandoffAction(
    "note",
    "Add note",
    "Only operators see it: neither the user nor the agent.",
    "The note is there.",
    lambda actor, key, data: control.add_note(actor, session_id=key, text=data["text"], key=str(data["key"])),
    NoteForm,
)
HANDOFF_ACTIONS: Final = (CLAIM, REPLY, RETURN, RESOLVE, SNOOZE, PRIORITY, ASSIGN, NOTE)


def is_assigned_to(handoff: Handoff, session: AgentSession, user: Any) -> bool:
    """Whether `user` is the person who answers the session's user now."""
    is_human = session.controller == AgentSession.Controller.HUMAN
    return is_human and handoff.state != HandoffState.RESOLVED and handoff.assignee_id == user.pk


def answered_by_another(handoff: Handoff, user: Any) -> User | None:
    """Who else is to answer already; None: nobody."""
    other = handoff.assignee
    return other if other is not None and handoff.state != HandoffState.RESOLVED and other.pk != user.pk else None
