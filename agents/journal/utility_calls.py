"""The rows of calls for side work: an intent before each call, its outcome after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from agents.domain.failures import ErrorClass
from agents.domain.states import StepStatus
from agents.domain.usage import BilledUsage
from agents.journal.usage_rollups import count_usage_of_utility_calls
from agents.models import UtilityCall

# Longer than any caller waits for side work.
ABANDONED_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class UtilityOwner:
    """Whom a call for side work is for: who pays, and the conversation and the turn that it is about, if any.
    `agent_id`: the agent whose budgets it draws on."""

    user_id: int
    session_id: UUID | None = None
    turn_id: UUID | None = None
    agent_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class UtilityOutcome:
    """The outcome of a call: `error_class` is "" for one that was answered; `details` as those of a step."""

    usage: BilledUsage
    error_class: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def begin_utility_call(owner: UtilityOwner, *, purpose: str, route: str, attempt: int) -> int:
    """Commit that `route` is about to be asked; return the id of the call.

    Raises `IntegrityError` when the session has been deleted.
    """
    call = UtilityCall.objects.create(
        user_id=owner.user_id,
        agent_session_id=owner.session_id,
        turn_id=owner.turn_id,
        purpose=purpose,
        route=route[:200],
        attempt=attempt,
    )
    return call.pk


@transaction.atomic
def end_utility_call(call_id: int, outcome: UtilityOutcome) -> None:
    """Commit the outcome of a call; nothing happens when its session has been deleted since."""
    ended = UtilityCall.objects.filter(pk=call_id, status=StepStatus.INTENT).update(
        status=StepStatus.FAILED if outcome.error_class else StepStatus.DONE,
        error_class=outcome.error_class,
        details=dict(outcome.details),
        input_tokens=outcome.usage.input_tokens,
        output_tokens=outcome.usage.output_tokens,
        cost_usd=outcome.usage.cost_usd,
        finished_at=Now(),
    )
    if ended:
        count_usage_of_utility_calls([call_id])


@transaction.atomic
def end_abandoned_utility_calls() -> int:
    """End the calls whose process was killed before it could write an outcome; return how many. What they used and cost
    stays unknown."""
    abandoned = UtilityCall.objects.filter(status=StepStatus.INTENT, started_at__lt=Now() - ABANDONED_AFTER)
    call_ids = list(abandoned.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True))
    calls = UtilityCall.objects.filter(pk__in=call_ids)
    calls.update(status=StepStatus.FAILED, error_class=ErrorClass.WORKER_CRASHED, finished_at=Now())
    count_usage_of_utility_calls(call_ids)
    return len(call_ids)
