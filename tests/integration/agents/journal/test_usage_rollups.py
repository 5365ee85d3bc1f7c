"""UsageTotal by day: turns and side work, counted once, whatever is compacted or deleted since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group

from agents.domain.usage import BilledUsage
from agents.journal.compaction import compact_turns
from agents.journal.usage_rollups import NO_ID, UsageBy, UsageFilter, UsageTotal, count_usage_of_call, read_usage
from agents.journal.utility_calls import (
    ABANDONED_AFTER,
    UtilityOutcome,
    UtilityOwner,
    begin_utility_call,
    end_abandoned_utility_calls,
    end_utility_call,
)
from agents.models import AgentSession, Turn, UtilityCall
from agents.sessions import delete_session
from foundation.clock import now
from tests.support.conversations import conversation
from tests.support.past_turns import past_turn

pytestmark = pytest.mark.usefixtures("transactional_db")

DAY = timedelta(days=1)
COST = Decimal("0.25")


def today() -> datetime:
    return now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def used(by: UsageBy | None = None, days: int = 3, **of: object) -> dict[object, UsageTotal]:
    """Of the past days and today, and of the next one: midnight may pass meanwhile."""
    return dict(read_usage(today() - days * DAY, today() + 2 * DAY, by=by, of=UsageFilter(**of)))  # type: ignore[arg-type]


def turn(session: AgentSession, at: datetime, cost: Decimal | None = COST) -> Turn:
    return past_turn(session, ended_at=at, input_tokens=100, output_tokens=10, cost_usd=cost)


def title(session: AgentSession, usage: BilledUsage) -> None:
    owner = UtilityOwner(session.user_id, session.pk)
    call_id = begin_utility_call(owner, purpose="title", route="offline", attempt=1)
    end_utility_call(call_id, UtilityOutcome(usage))


def compact() -> None:
    compact_turns(list(Turn.objects.values_list("agent_session_id", "pk")))


def test_turns_and_side_work_are_counted_the_same_before_and_after_compaction_and_deletion() -> None:
    ada = conversation()
    at = today() - timedelta(hours=1)
    turn(ada.row, at)
    turn(ada.row, at - DAY, cost=None)
    title(ada.row, BilledUsage(20, 5, Decimal("0.01")))
    expected = {None: UsageTotal(2, 1, 220, 25, COST, Decimal("0.01"), 1)}
    assert used() == expected
    compact()
    assert used() == expected
    turn(ada.row, at)
    delete_session(ada.actor, session_id=ada.row.pk, expected_version=None)
    assert not Turn.objects.exists()
    assert used() == {None: UsageTotal(3, 1, 320, 35, 2 * COST, Decimal("0.01"), 1)}
    by_day = used(UsageBy.DAY)
    assert [by_day[at.replace(hour=0) - days * DAY].turns for days in (1, 0)] == [1, 2]


def test_usage_is_broken_down_by_agent_release_user_and_group_and_can_be_limited_to_each() -> None:
    ada, bob = conversation("ada", slug="one").row, conversation("bob", slug="two").row
    sales, all_staff = (Group.objects.create(name=name) for name in ("sales", "all"))
    ada.user.groups.add(sales, all_staff)
    for session in (ada, ada, bob):
        turn(session, today() - timedelta(hours=1))
    compact()
    turn(bob, today() - timedelta(hours=2))
    assert {key: one.turns for key, one in used(UsageBy.AGENT).items()} == {ada.agent_id: 2, bob.agent_id: 2}
    assert {key: one.turns for key, one in used(UsageBy.RELEASE).items()} == {ada.release_id: 2, bob.release_id: 2}
    assert {key: one.turns for key, one in used(UsageBy.USER).items()} == {ada.user_id: 2, bob.user_id: 2}
    groups = used(UsageBy.GROUP)
    assert (groups[sales.pk].turns, groups[all_staff.pk].turns) == (2, 2)
    for of in (
        {"agent_id": ada.agent_id},
        {"release_id": ada.release_id},
        {"user_id": ada.user_id},
        {"group_id": sales.pk},
    ):
        assert used(**of)[None].turns == 2
        assert ada.user_id in used(UsageBy.USER, **of)
        assert bob.user_id not in used(UsageBy.USER, **of)


def test_a_call_for_side_work_that_nobody_ended_counts_once_as_unknown() -> None:
    ada = conversation().row
    call_id = begin_utility_call(UtilityOwner(ada.user_id), purpose="title", route="offline", attempt=1)
    assert used() == {}
    UtilityCall.objects.filter(pk=call_id).update(started_at=now() - 2 * ABANDONED_AFTER)
    assert end_abandoned_utility_calls() == 1
    end_utility_call(call_id, UtilityOutcome(BilledUsage(1, 1, COST)))
    assert used(UsageBy.AGENT) == {NO_ID: UsageTotal(side_calls=1, cost_unknown=1)}


def test_calls_of_embeddings_count_as_side_work() -> None:
    ada = conversation().row
    for cost in (COST, None):
        count_usage_of_call(
            user_id=ada.user_id, agent_id=ada.agent_id, purpose="embeddings", input_tokens=7, output_tokens=0,
            cost_usd=cost,
        )  # fmt: skip
    assert used(UsageBy.USER) == {ada.user_id: UsageTotal(0, 2, 14, 0, Decimal(0), COST, 1)}
