"""The rows of calls for side work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.roles import Role
from agents.domain.failures import ErrorClass
from agents.domain.states import StepStatus
from agents.domain.usage import BilledUsage
from agents.journal.utility_calls import (
    ABANDONED_AFTER,
    UtilityOutcome,
    UtilityOwner,
    begin_utility_call,
    end_abandoned_utility_calls,
    end_utility_call,
)
from agents.models import UtilityCall
from foundation.clock import now
from tests.support.people import person

pytestmark = pytest.mark.django_db


def begin(age: timedelta = timedelta()) -> UtilityCall:
    owner = UtilityOwner(person("ada", Role.USER).pk)
    call = UtilityCall.objects.get(pk=begin_utility_call(owner, purpose="title", route="offline", attempt=1))
    UtilityCall.objects.filter(pk=call.pk).update(started_at=now() - age)
    return call


def test_a_call_whose_process_was_killed_is_ended_and_its_cost_stays_unknown() -> None:
    call = begin(ABANDONED_AFTER + timedelta(minutes=1))
    assert end_abandoned_utility_calls() == 1
    call.refresh_from_db()
    assert (call.status, call.error_class, call.cost_usd) == (StepStatus.FAILED, ErrorClass.WORKER_CRASHED, None)
    assert call.finished_at is not None
    assert end_abandoned_utility_calls() == 0
    end_utility_call(call.pk, UtilityOutcome(BilledUsage()))
    call.refresh_from_db()
    assert call.status == StepStatus.FAILED, "the process was killed, and says nothing any more"


def test_a_call_that_may_still_be_answered_is_left_alone() -> None:
    call = begin(ABANDONED_AFTER - timedelta(minutes=1))
    assert end_abandoned_utility_calls() == 0
    end_utility_call(call.pk, UtilityOutcome(BilledUsage()))
    call.refresh_from_db()
    assert call.status == StepStatus.DONE
