"""What operators are shown of people who wait for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db.models import F

from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decider, Decision
from agents.models import Agent, Approval, Handoff
from agents.sessions.approvals import decide_approval
from agents.sessions.handoff_control import claim_handoff, reply_as_human, snooze_handoff
from agents.sessions.handoffs import request_handoff
from agents.sessions.health_checks import WaitingPeople, evaluate_approvals, evaluate_waiting, waiting_people
from agents.sessions.operator_duty import go_off_duty, go_on_duty
from foundation.clock import now
from health_checks.check import Level
from health_checks.run import Measurements
from monitoring.models import GaugeSample
from monitoring.prometheus.families import Figures
from monitoring.prometheus.live_state import read_live_state
from monitoring.sampling.gauge_samples import write_gauges
from tests.support.approvals import request_approval
from tests.support.conversations import claimed, conversation
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


def people() -> WaitingPeople:
    return waiting_people(Measurements(now()))


def wait_minutes(minutes: float) -> None:
    """Everybody has waited for so long already."""
    earlier = timedelta(minutes=minutes)
    Handoff.objects.update(requested_at=F("requested_at") - earlier, reply_due_at=F("reply_due_at") - earlier)


def test_who_waits_for_how_long_and_whether_anybody_is_there() -> None:
    ada, bob = conversation("ada"), conversation("bob")
    assert people() == WaitingPeople()
    dana = user_actor(person("dana", Role.OPERATOR))
    for user in (ada, bob):
        request_handoff(user.actor, session_id=user.session_id)
    found = people()
    assert (found.waiting, found.late, found.unattended) == (2, 0, 2)
    go_on_duty(dana)
    assert people().unattended == 0
    wait_minutes(11)
    found = people()
    assert (found.waiting, found.late) == (2, 2)
    assert 660 <= (found.oldest_seconds or 0) < 700
    reply_as_human(dana, session_id=ada.session_id, text="Hello", key="1")
    assert (people().waiting, people().late) == (1, 1)
    ada.ask("And now?")
    assert (people().waiting, people().late) == (2, 1), "there is no target for later replies"
    snooze_handoff(dana, session_id=bob.session_id, until=now() + timedelta(hours=1))
    assert (people().waiting, people().late) == (1, 0)
    reply_as_human(dana, session_id=ada.session_id, text="Now", key="2")
    assert people().waiting == 0
    claim_handoff(dana, session_id=conversation("eve").session_id)
    assert people().waiting == 0, "nobody asked for a person"


def test_on_duty_is_who_may_read_the_agent() -> None:
    ada, dana = conversation(), person("dana", Role.OPERATOR)
    request_handoff(ada.actor, session_id=ada.session_id)
    go_on_duty(user_actor(dana))
    assert people().unattended == 0
    team = Group.objects.create(name="team")
    Agent.objects.get().groups.add(team)
    assert people().unattended == 1
    dana.groups.add(team)
    assert people().unattended == 0
    go_off_duty(user_actor(dana))
    assert people().unattended == 1


def test_approvals_count_until_they_are_decided_or_over() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    mine = request_approval(work, step=2)
    request_approval(work, step=3, decider=Decider.OPERATOR, expires_at=now() + timedelta(minutes=30))
    found = people()
    assert (found.approvals, found.operator_approvals) == (2, 1)
    assert 1700 < (found.operator_seconds or 0) <= 1800
    decide_approval(ada.actor, approval_id=mine.pk, decision=Decision.DENY)
    assert people().approvals == 1
    Approval.objects.filter(state="pending").update(expires_at=now())
    assert people().approvals == 0


def test_samples_and_metrics_say_the_same() -> None:
    ada = conversation()
    ada.ask()
    request_approval(claimed())
    request_handoff(ada.actor, session_id=ada.session_id)
    wait_minutes(11)
    write_gauges()
    samples = dict(GaugeSample.objects.filter(labels={}).values_list("metric", "value"))
    names = ("handoffs_waiting", "handoffs_late", "handoffs_unattended", "approvals_open")
    assert [samples[name] for name in names] == [1, 1, 1, 1]
    assert 660 <= samples["handoff_wait_seconds"] < 700
    read_live_state(figures := Figures(), now())
    shown = {family.name: series for family, series in figures.values.items()}
    assert [shown[f"bandstand_{name}"] for name in names] == [{(): 1}] * 4
    assert shown["bandstand_handoff_wait_seconds"][()] == pytest.approx(samples["handoff_wait_seconds"], abs=30)


@pytest.mark.parametrize(
    ("figures", "level", "value", "label"),
    [
        (WaitingPeople(), Level.GOOD, "0", "nobody waits for a person"),
        (WaitingPeople(2, 61.0), Level.WARN, "2", "oldest for 61 s"),
        (WaitingPeople(2, 61.0, late=1), Level.BAD, "2", "oldest for 61 s, 1 past the target of a first reply"),
        (WaitingPeople(2, 61.0, unattended=2), Level.BAD, "2", "oldest for 61 s, nobody on duty for 2"),
    ],
)
def test_waiting_is_yellow_and_waiting_in_vain_is_red(
    figures: WaitingPeople, level: Level, value: str, label: str
) -> None:
    [finding] = evaluate_waiting(figures)
    assert (finding.level, finding.value, finding.message) == (level, value, label)


def test_an_approval_of_operators_is_yellow_in_its_last_hour() -> None:
    levels = [
        evaluate_approvals(figures)[0].level
        for figures in (WaitingPeople(), WaitingPeople(approvals=3), WaitingPeople(0, None, 0, 0, 3, 1, 7200.0),
                        WaitingPeople(0, None, 0, 0, 3, 1, 3599.0))
    ]  # fmt: skip
    assert levels == [Level.GOOD, Level.GOOD, Level.GOOD, Level.WARN]
