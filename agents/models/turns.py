"""The work to answer a message: turns, their steps, and the log of everything that happened."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import DurationField, ExpressionWrapper, F, Q
from django.db.models.functions import Now
from django.db.models.lookups import GreaterThanOrEqual

from agents.domain.events import TERMINAL_EVENTS
from agents.domain.failures import SILENT_CLASSES
from agents.domain.response_fallbacks import Fallback
from agents.domain.states import OWNED, TERMINAL, Priority, StepKind, StepStatus, TurnStatus, WaitReason
from agents.models.constraints import row_check
from agents.models.sessions import IN_PRODUCTION, AgentSession
from foundation.ids import new_id

_OWNED = sorted(OWNED)
_ENDED_BADLY = sorted(TERMINAL - {TurnStatus.COMPLETED})


# Turns that have ended, and of which nobody knows what they cost or used: a sum without them is a lower bound.
COST_UNKNOWN = Q(finished_at__isnull=False, cost_usd=None)
TOKENS_UNKNOWN = Q(finished_at__isnull=False) & (Q(input_tokens=None) | Q(output_tokens=None))
# A failure is a turn of production that failed or expired, unless an operator wanted it to. Once a later turn has
# answered the same question, it is a failure that nobody has to look at any more.
FAILED = (
    Q(status__in=(TurnStatus.EXPIRED.value, TurnStatus.FAILED.value))
    & ~Q(error_class__in=SILENT_CLASSES)
    & IN_PRODUCTION
)
ANSWERED_LATER = Q(retried_by__status=TurnStatus.COMPLETED.value)
UNANSWERED_FAILURE = FAILED & ~ANSWERED_LATER
# A reaper handles an expired lease within seconds; one that is older than this shows that no reaper runs.
STUCK_AFTER = timedelta(seconds=60)
LEASE_IS_OVERDUE = Q(lease_expires_at__lt=Now() - STUCK_AFTER)
DEADLINE_IS_OVERDUE = Q(deadline_at__lt=Now() - STUCK_AFTER, lease_expires_at=None, finished_at=None)
# From its admission to its end: what its user waited for.
DURATION = ExpressionWrapper(F("finished_at") - F("queued_at"), output_field=DurationField())
# Shorter turns are in no index of durations.
SLOW = timedelta(seconds=30)


def _choices(states: Any) -> list[tuple[Any, str]]:
    return [(state.value, str(state.name).lower().replace("_", " ")) for state in states]


class Turn(models.Model):
    """One user message and all the work to answer it. Written by `agents.journal` only.

    The legal transitions are in `agents.domain.states` and in a trigger. The status and result of a terminal row never
    change again. After `deadline_at` the turn expires, in whatever status; but not while it waits for a person or for
    children: the deadline then includes the longest duration of the wait, and is corrected when the wait ends.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Every index that would begin with the session alone is covered by the unique ones below.
    agent_session = models.ForeignKey(AgentSession, on_delete=models.CASCADE, related_name="turns", db_index=False)
    # Copied from the session under its lock; a constraint would add a shared lock of the rows of user and release per
    # turn, and the session's own constraints protect both.
    user = models.ForeignKey(
        "accounts.User", on_delete=models.PROTECT, db_constraint=False, related_name="+", db_index=False
    )
    release = models.ForeignKey(
        "Release", on_delete=models.PROTECT, db_constraint=False, related_name="+", db_index=False
    )
    ordinal = models.IntegerField(help_text="The ordinal of its message.")
    status = models.CharField(max_length=10, choices=_choices(TurnStatus), default=TurnStatus.QUEUED.value)
    priority = models.SmallIntegerField(choices=_choices(Priority), default=Priority.INTERACTIVE.value)
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is "none given"
    fingerprint = models.BinaryField(max_length=32, help_text="SHA-256 of the canonical request.")

    # Null for what came from a browser or a schedule. A plain id: keys are deleted, and their turns stay.
    api_key_id = models.UUIDField(null=True, help_text="The API key that asked, if any.")
    client_options = models.JSONField(
        null=True, blank=True, help_text="What a client asked for besides: see agents.domain.client_options."
    )

    epoch = models.IntegerField(default=0, help_text="Raised by every claim.")
    attempts_without_progress = models.SmallIntegerField(default=0)
    tool_stalls = models.SmallIntegerField(
        default=0, db_default=0, help_text="How often its lease was lost while a tool of it ran."
    )
    runner = models.ForeignKey(
        "Runner", null=True, on_delete=models.SET_NULL, db_constraint=False, related_name="+", db_index=False
    )
    lease_expires_at = models.DateTimeField(null=True)
    available_at = models.DateTimeField(null=True, help_text="When a wait ends, if nothing ends it before.")
    wait_reason = models.CharField(max_length=8, blank=True, default="", choices=_choices(WaitReason))
    resumes = models.BooleanField(default=False, help_text="It comes back from a wait: its next claim goes on.")

    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField()

    error_class = models.CharField(max_length=20, blank=True, default="")
    error_detail = models.TextField(blank=True, default="")
    error_id = models.UUIDField(null=True)
    error_retry_at = models.DateTimeField(
        null=True, help_text="When trying again may help; null: at any time, or never."
    )
    input_tokens = models.IntegerField(null=True, help_text="Null: unknown, such as before the end.")
    output_tokens = models.IntegerField(null=True, help_text="Null: unknown, such as before the end.")
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True, help_text="Null: the price is unknown.")
    # Both are null for nearly all turns, which then takes no byte of the row and no entry of an index.
    fallback = models.CharField(  # noqa: DJ001
        max_length=20, null=True, choices=_choices(Fallback), help_text="What it ended with in place of an answer."
    )
    prompt_hash = models.BinaryField(
        max_length=32, null=True, help_text="Of all that its model was sent, where its answer may be shown again."
    )
    # Null for nearly all turns, like the two above. No action of its own when that turn is deleted: both are deleted
    # with their session.
    retried_by = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        db_index=False,
        help_text="The later turn that asked the same question again: the one that answered it, or else the newest.",
    )
    compacted = models.BooleanField(default=False, help_text="Its deltas are compacted.")
    remembered = models.BooleanField(default=False, db_default=False, help_text="What was said in it was remembered.")

    class Meta:
        permissions = [
            ("cancel_turn", "Can cancel the turns of others"),
            ("retry_turn", "Can retry the turns of others"),
            ("requeue_turn", "Can take a turn away from its runner"),
            ("fail_turn", "Can fail a turn"),
        ]
        # Each has other columns and conditions, so that no query fits two of them: see the claim in `journal.sql`.
        indexes = [
            # The queue, one user after the other, in the order of service.
            models.Index(fields=["user", "priority", "id"], name="turn_queue", condition=Q(status="queued")),
            # A user's running turns; few enough that the reaper reads them all.
            models.Index(
                fields=["user", "lease_expires_at"], name="turn_owned", condition=Q(lease_expires_at__isnull=False)
            ),
            # Turns without a runner, for their deadlines.
            models.Index(
                fields=["deadline_at"],
                name="turn_due",
                condition=Q(lease_expires_at__isnull=True, finished_at__isnull=True),
            ),
            models.Index(fields=["available_at"], name="turn_wait", condition=Q(status__in=["waiting", "retry_wait"])),
            models.Index(
                fields=["agent_session", "ordinal"], name="turn_unfinished", condition=Q(finished_at__isnull=True)
            ),
            # What is still to be compacted: the turns of the last minute.
            models.Index(
                fields=["finished_at"], name="turn_uncompacted", condition=Q(compacted=False, finished_at__isnull=False)
            ),
            # For the console, which lists turns by their ids. These two hold finished turns only: each costs one write
            # at a turn's end, and no claim uses them, since claims look for unfinished ones.
            models.Index(fields=["release", "id"], name="turn_of_release", condition=Q(finished_at__isnull=False)),
            models.Index(fields=["user", "id"], name="turn_of_user", condition=Q(finished_at__isnull=False)),
            # These cost nothing for a turn that completes cheaply.
            models.Index(fields=["id"], name="turn_ended_badly", condition=Q(status__in=_ENDED_BADLY)),
            models.Index(fields=["error_class", "id"], name="turn_of_error", condition=Q(status__in=_ENDED_BADLY)),
            models.Index(fields=["error_id"], name="turn_error", condition=Q(error_id__isnull=False)),
            models.Index(fields=["cost_usd"], name="turn_dear", condition=Q(cost_usd__gte=Decimal("0.01"))),
            # The planner knows how many there are from the statistics of the migrations.
            models.Index("id", DURATION, name="turn_slow", condition=Q(GreaterThanOrEqual(DURATION, SLOW))),
            models.Index(fields=["id"], name="turn_retried", condition=Q(retried_by__isnull=False)),
            models.Index(fields=["fallback", "id"], name="turn_fallback", condition=Q(fallback__isnull=False)),
            models.Index(
                fields=["user", "prompt_hash", "id"], name="turn_prompt", condition=Q(prompt_hash__isnull=False)
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["agent_session", "ordinal"], name="turn_ordinal_unique"),
            models.UniqueConstraint(
                fields=["agent_session", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="turn_key_unique",
            ),
            models.UniqueConstraint(
                fields=["agent_session"], condition=Q(status__in=_OWNED), name="turn_one_owned_per_session"
            ),
            # A known status; a lease exactly while owned; a finish time exactly when terminal; the end of a wait
            # exactly while parked, and its reason exactly while waiting; a failure has an error class.
            row_check(
                "turn", "status", "lease_expires_at", "finished_at", "available_at", "wait_reason", "error_class"
            ),
        ]

    def __str__(self) -> str:
        return f"turn {self.id} ({self.status})"

    def audit_name(self) -> str:
        """Always "": turns have no name in the audit trail."""
        return ""


class TurnText(models.Model):
    """What is looked up of a turn, written in the background, some time after its end.

    The words of its question and answer, for search, and the turns whose question it asks again.
    """

    turn = models.OneToOneField(Turn, primary_key=True, on_delete=models.CASCADE, related_name="text")
    # Copied from the session, so that a search reads only what its reader may.
    agent = models.ForeignKey("Agent", on_delete=models.PROTECT, db_constraint=False, related_name="+", db_index=False)
    document = SearchVectorField()
    # Null for nearly all turns. Ids, for both are deleted with their session.
    repeated_turns = ArrayField(
        models.UUIDField(), null=True, help_text="Whose question it asks again shortly after the answer."
    )

    class Meta:
        indexes = [
            # No pending list (fastupdate): a search would read all of it.
            GinIndex(fields=["document"], name="turn_text_document", fastupdate=False),
            models.Index(fields=["turn"], name="turn_text_repeating", condition=Q(repeated_turns__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"text of turn {self.turn_id}"


class Step(models.Model):
    """One model call, tool call or fallback. `intent` commits before it is tried, its outcome after it."""

    id = models.BigAutoField(primary_key=True)
    turn = models.ForeignKey(Turn, on_delete=models.CASCADE, related_name="steps", db_index=False)
    number = models.SmallIntegerField()
    kind = models.CharField(max_length=8, choices=_choices(StepKind))
    status = models.CharField(max_length=7, choices=_choices(StepStatus), default=StepStatus.INTENT.value)
    epoch = models.IntegerField(help_text="The claim that tried it last.")
    # "" in the intent of a model call: its route is chosen when the call is made.
    name = models.CharField(
        max_length=200, blank=True, default="", help_text="The route that was asked, or the tool's or fallback's name."
    )
    call_id = models.CharField(max_length=200, blank=True, default="", help_text="The model's id of a tool call.")
    idempotent = models.BooleanField(default=False)
    request = models.JSONField(default=dict, help_text="Arguments of a tool call, as the model wrote them.")
    result = models.JSONField(null=True, help_text="A model's text and tool calls, or a tool's answer.")
    details = models.JSONField(
        blank=True,
        default=dict,
        help_text="For traces: attempt, time to first token, request id, cached and reasoning tokens, error.",
    )
    error_class = models.CharField(max_length=20, blank=True, default="")
    input_tokens = models.IntegerField(null=True, help_text="Null: unknown, such as before the end.")
    output_tokens = models.IntegerField(null=True, help_text="Null: unknown, such as before the end.")
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True, help_text="Null: the price is unknown.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["turn", "number"]
        constraints = [
            models.UniqueConstraint(fields=["turn", "number"], name="step_number_unique"),
            # A known kind and status; a finish time exactly when there is an outcome.
            row_check("step", "kind", "status", "finished_at"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} step {self.number}"


class Event(models.Model):
    """Row `seq` of a session's log, which every transport reads.

    `seq` is gapless per session when written. After a turn its deltas are compacted: the row of the last one stays and
    `replaces_from` names the first of those it replaces, so the range [replaces_from, seq] is covered by one row.
    """

    id = models.BigAutoField(primary_key=True)
    agent_session = models.ForeignKey(AgentSession, on_delete=models.CASCADE, related_name="events", db_index=False)
    seq = models.BigIntegerField()
    # No constraint: the fence proves the turn in the statement that inserts, and its row is never deleted alone.
    turn = models.ForeignKey(
        Turn, null=True, on_delete=models.CASCADE, db_constraint=False, related_name="+", db_index=False
    )
    epoch = models.IntegerField(default=0)
    type = models.CharField(max_length=32)
    data = models.JSONField(default=dict)
    replaces_from = models.BigIntegerField(null=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["agent_session", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["agent_session", "seq"], name="event_seq_unique"),
            models.UniqueConstraint(
                fields=["turn"], condition=Q(type__in=sorted(TERMINAL_EVENTS)), name="event_one_end_per_turn"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.type}"
