"""Each number of the start page leads to exactly the rows that it counts."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django_q.models import Schedule as Q2Schedule

from accounts.models import User
from accounts.roles import Role
from agents.domain.failures import ERROR_CLASSES
from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import OWNED, PARKED, TERMINAL, TurnStatus
from agents.management.demo.past_ids import make_id
from agents.models import Agent, AgentSession, Feedback, Message, Runner, Turn
from foundation.clock import now
from scheduling.models import JobRun, Schedule
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.consoles import changelist_of, client_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db

SITUATIONS = 6
# An alert that begins with the number of the rows that it is about.
NUMBER = re.compile(r"([\d,]+) ")


class Undo(Exception):
    """Ends a situation."""


def make_turns(random: Random, ada: User, agents: list[Agent], count: int) -> None:
    """Turns of every status, kind of failure and age around an hour, some of them asked again by a later one."""
    failed: list[Turn] = []
    for _ in range(count):
        demo = random.choice(agents)
        assert demo.live_release is not None
        purpose = random.choice([*SessionPurpose, *4 * [SessionPurpose.PRODUCTION]])
        session = AgentSession.objects.create(user=ada, agent=demo, release=demo.live_release, purpose=purpose)
        queued_at = now() - timedelta(seconds=random.choice([5, 100, 1_800, 3_500, 3_590, 3_605, 3_700, 90_000]))
        status = random.choice([*TurnStatus, TurnStatus.FAILED, TurnStatus.FAILED, TurnStatus.EXPIRED])
        ends = status in {TurnStatus.FAILED, TurnStatus.EXPIRED}
        late = random.random() < 0.3
        turn = Turn.objects.create(
            id=make_id(queued_at, random),
            agent_session=session,
            user=ada,
            release=demo.live_release,
            ordinal=1,
            status=status,
            fingerprint=b"",
            queued_at=queued_at,
            deadline_at=now() + timedelta(seconds=-90 if late else 600),
            lease_expires_at=now() + timedelta(seconds=-90 if late else 9) if status in OWNED else None,
            available_at=now() + timedelta(minutes=5) if status in PARKED else None,
            wait_reason="approval" if status is TurnStatus.WAITING else "",
            finished_at=now() if status in TERMINAL else None,
            error_class=random.choice(ERROR_CLASSES) if ends else "",
            retried_by=random.choice(failed) if failed and random.random() < 0.4 else None,
        )
        if turn.finished_at is None:
            AgentSession.objects.filter(pk=session.pk).update(open_turns=1)
        failed.append(turn)
        if random.random() < 0.3:
            rate(random, turn)


def rate(random: Random, turn: Turn) -> None:
    """A rating around a day old, of the answer of `turn` or of a copy of it."""
    message = Message.objects.create(agent_session=turn.agent_session, ordinal=2, author="agent", turn=turn)
    is_copy = random.random() < 0.2
    Feedback.objects.create(
        id=make_id(now() - timedelta(seconds=random.choice([5, 80_000, 86_390, 86_400, 86_470, 90_000])), random),
        agent_session=turn.agent_session,
        message=message,
        user=turn.user,
        value=random.choice([1, -1]),
        turn=None if is_copy else turn,
        release=None if is_copy else turn.release,
    )


def make_operations(random: Random) -> None:
    """Runners that live, are silent or stopped, and schedules whose last run went well, failed or never ended."""
    for _ in range(random.randrange(6)):
        seconds = random.choice([1, 1, 600])
        status = random.choice([Runner.Status.RUNNING, *Runner.Status])
        heartbeat_at = now() - timedelta(seconds=seconds)
        Runner.objects.create(host="host", pid=1, capacity=1, status=status, heartbeat_at=heartbeat_at)
    if random.random() < 0.8:
        record_scheduler_heartbeat()
    unreadable = random.random() < 0.3
    for number in range(random.randrange(6)):
        job = f"job {number}"
        Schedule.objects.create(job=job, every_minutes=1)
        if not unreadable or random.random() < 0.5:
            Q2Schedule.objects.create(name=job, func="x")
        for _ in range(random.randrange(4)):
            JobRun.objects.create(job=job, asked_by="test", status=random.choice(list(JobRun.Status)))


def listed(client: Client, address: str) -> int:
    """The rows of the list at `address`, on all of its pages."""
    rows, next_page = 0, address
    while next_page:
        changelist = changelist_of(client, next_page)
        rows += len(changelist.result_list)
        older = getattr(changelist, "older", None)
        next_page = address.partition("?")[0] + older if older else ""
    return rows


def compare(client: Client) -> set[str]:
    """Compare each number with the list that it leads to, and return the names of those above 0."""
    context = client.get("/admin/").context
    figures = {figure.name: (figure.value, figure.address) for figure in context["metrics"]}
    figures |= {
        alert.message: (match[1], alert.address)
        for alert in context["alerts"]
        if (match := NUMBER.match(alert.message))
    }
    for percentage in ("Memory", "Spend against budget"):
        figures.pop(percentage)
    counts = {name: int(value.replace(",", "")) for name, (value, _) in figures.items()}
    assert counts == {name: listed(client, address) for name, (_, address) in figures.items()}
    return {re.sub(r"[\d,]+ failed with.*", "Kind", name) for name, count in counts.items() if count}


def test_every_number_of_the_start_page_leads_to_the_rows_that_it_counts() -> None:
    vera, ada, seen = client_of("vera", Role.VIEWER), person("ada", Role.USER), set[str]()
    # Builders see more in the lists than the figures count.
    olga = client_of("olga", Role.OWNER)
    agents = [agent("one"), agent("two")]
    for seed in range(SITUATIONS):
        with suppress(Undo), transaction.atomic():
            random = Random(seed)
            make_turns(random, ada, agents, random.choice([0, 3, 40, 130]))
            make_operations(random)
            seen |= compare(vera) | compare(olga)
            raise Undo
    assert seen >= {
        "Failed, past hour", "In the queue", "Running", "Stuck", "Active sessions", "Active runners", "Maintenance",
        "Kind", "Rated down, past day",
    }  # fmt: skip


def test_a_number_leads_to_its_rows_in_whatever_second_of_the_minute_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vera, ada, demo = client_of("vera", Role.VIEWER), person("ada", Role.USER), agent("one")
    moment = now().replace(second=59, microsecond=999_999)
    assert demo.live_release is not None
    for number, seconds in enumerate([3_540, 3_599, 3_600, 3_640, 3_659, 3_660, 3_700]):
        session = AgentSession.objects.create(user=ada, agent=demo, release=demo.live_release)
        values: dict[str, Any] = {"finished_at": moment, "status": "failed", "error_class": "auth", "fingerprint": b""}
        Turn.objects.create(
            id=make_id(moment - timedelta(seconds=seconds), Random(number)), agent_session=session, user=ada,
            release=demo.live_release, ordinal=1, deadline_at=moment, **values,
        )  # fmt: skip
    monkeypatch.setattr("monitoring.dashboard.now", lambda: moment)
    assert "Failed, past hour" in compare(vera)
