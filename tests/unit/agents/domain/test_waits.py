"""Several simultaneous waits as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agents.domain.failures import ErrorClass
from agents.domain.states import WaitReason
from agents.domain.waits import Park, combine_waits

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SOON, LATER, LAST = (NOW + timedelta(seconds=seconds) for seconds in (2, 60, 3600))
APPROVAL, CHILDREN, BUDGET = WaitReason.APPROVAL, WaitReason.CHILDREN, WaitReason.BUDGET


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("waits", "reason", "until"),
    [
        ([Park(LATER, BUDGET)], BUDGET, LATER),
        ([Park(LAST, APPROVAL), Park(SOON, CHILDREN)], APPROVAL, LAST),
        ([Park(LAST, APPROVAL), Park(LATER, APPROVAL), Park(SOON, BUDGET)], APPROVAL, LATER),
        ([Park(LAST, CHILDREN), Park(SOON)], CHILDREN, LAST),
    ],
)
def test_one_wait_is_shown_and_the_first_end_counts(
    waits: list[Park], reason: WaitReason, until: datetime, backwards: bool
) -> None:
    combined = combine_waits(waits[::-1] if backwards else waits)
    assert (combined.reason, combined.until) == (reason, until)
    assert combined.resume_at == min(wait.until for wait in waits)


def test_the_error_of_a_wait_for_a_provider_is_that_of_the_one_that_is_shown() -> None:
    combined = combine_waits([Park(LATER), Park(SOON, error_class=ErrorClass.RATE_LIMIT)])
    assert (combined.until, combined.reason, combined.error_class) == (SOON, None, ErrorClass.RATE_LIMIT)
