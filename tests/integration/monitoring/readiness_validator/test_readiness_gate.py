"""Publishing asks the readiness gate: what has failed needs an owner's reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.test import override_settings

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import Agent, AgentDraft, Release
from agents.releases import publish, roll_back
from agents.releases.publication_gate import NotReady, judge_publication
from console.views import row_url
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput
from monitoring.models import ReadinessRun
from monitoring.readiness_validator.candidates import fingerprint
from monitoring.readiness_validator.check_lines import Area, LineMaker
from tests.support.consoles import button_of, client_of
from tests.support.people import agent, person, write_draft

pytestmark = pytest.mark.django_db

LOAD = LineMaker(Area.PERFORMANCE)
FAILED = LOAD.failed("response time", "p95 9 s.", "See what takes the processors.")
PASSED = LOAD.passed("response time", "p95 60 ms.")
CALL = LineMaker(Area.DEPENDENCIES, route="openai:gpt-5-mini").failed(
    "call of openai:gpt-5-mini", "No key.", "Put one in."
)


@pytest.fixture
def demo() -> Agent:
    one = agent()
    write_draft(instructions="Be brief.", version=2)
    return one


def result(*lines: Any, agent_id: UUID | None = None, digest: str = "", hours_ago: float = 0) -> ReadinessRun:
    """A finished run with these lines."""
    return ReadinessRun.objects.create(
        status="failed",
        agent_id=agent_id,
        fingerprint=digest,
        subject="x",
        requested_as="olga",
        finished_at=now() - timedelta(hours=hours_ago),
        lines=[line.dump() for line in lines],
    )


def problems(demo: Agent) -> list[str]:
    return [one.name for one in judge_publication(demo, AgentDraft.objects.get(agent=demo).configuration).problems]


def test_a_good_configuration_that_nobody_has_checked_is_published(demo: Agent) -> None:
    assert problems(demo) == []
    assert publish(user_actor(person("bob", Role.BUILDER)), agent_id=demo.pk, expected_version=2).number == 2


def test_what_has_failed_of_the_installation_counts_for_a_day(demo: Agent) -> None:
    result(FAILED, hours_ago=25)
    assert problems(demo) == []
    result(FAILED)
    assert problems(demo) == ["response time"]


def test_a_result_about_this_very_draft_counts_before_that_of_the_installation(demo: Agent) -> None:
    own = fingerprint(AgentDraft.objects.get(agent=demo).configuration)
    result(PASSED, agent_id=demo.pk, digest=own)
    result(FAILED)
    assert problems(demo) == []
    write_draft(instructions="Other.", version=3)
    assert problems(demo) == ["response time"], "that result is about another draft"


def test_a_change_of_the_draft_leaves_no_failure_behind(demo: Agent) -> None:
    write_draft(model_chain=["openai:gpt-5-mini"], version=3)
    result(CALL, agent_id=demo.pk, digest="of another draft")
    assert problems(demo) == ["call of openai:gpt-5-mini"]
    result(FAILED)
    assert problems(demo) == ["call of openai:gpt-5-mini", "response time"], "the installation's has not called it"
    call = LineMaker(Area.DEPENDENCIES, route=CALL.route).passed(CALL.name, "It answered.")
    result(call, PASSED, agent_id=demo.pk, digest="of yet another")
    assert problems(demo) == []


def test_a_model_that_the_agent_does_not_ask_does_not_count(demo: Agent) -> None:
    result(CALL)
    assert problems(demo) == []
    write_draft(model_chain=["openai:gpt-5-mini"], version=3)
    assert problems(demo) == ["call of openai:gpt-5-mini"]


def test_the_configuration_is_checked_anew_each_time(demo: Agent) -> None:
    config = settings.BANDSTAND.model_copy(update={"messages_per_minute": 0})
    with override_settings(BANDSTAND=config):
        assert problems(demo) == ["limits"]


def test_problems_need_a_reason_of_an_owner_which_is_audited(demo: Agent) -> None:
    result(FAILED)
    bob, olga = (user_actor(person(name, role)) for name, role in (("bob", Role.BUILDER), ("olga", Role.OWNER)))
    for actor in (bob, olga):
        with pytest.raises(NotReady, match="response time"):
            publish(actor, agent_id=demo.pk, expected_version=2)
    with pytest.raises(Forbidden):
        publish(bob, agent_id=demo.pk, expected_version=2, override_reason="It is urgent")
    with pytest.raises(InvalidInput):
        publish(olga, agent_id=demo.pk, expected_version=2, override_reason="x" * 401)
    assert Release.objects.filter(agent=demo).count() == 1
    publish(olga, agent_id=demo.pk, expected_version=2, override_reason="The load comes from a backup")
    entry = AuditEntry.objects.filter(action="release.published").latest("pk")
    assert entry.detail["failed_checks"] == ["response time"]
    assert entry.detail["reason"] == "The load comes from a backup"


def test_going_back_and_the_system_are_not_asked(demo: Agent) -> None:
    result(FAILED)
    publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    assert roll_back(user_actor(person("bob", Role.BUILDER)), agent_id=demo.pk, number=1).number == 3


def test_the_page_shows_the_problems_and_lets_an_owner_go_on(demo: Agent) -> None:
    result(FAILED)
    address = button_of(demo, "publish_draft")
    confirmed = {"confirm": "yes", "draft": "2", "live": str(demo.live_release_id), "note": ""}
    builder, owner = client_of("bob", Role.BUILDER), client_of("olga", Role.OWNER)
    page = builder.get(address).content.decode()
    assert "p95 9 s." in page
    assert "or ask an owner" in page
    assert ">Publish</button>" not in page
    builder.post(address, confirmed | {"reason": "It is urgent"})
    assert 'name="reason"' in owner.get(address).content.decode()
    owner.post(address, confirmed)
    assert Release.objects.filter(agent=demo).count() == 1
    owner.post(address, confirmed | {"reason": "It is urgent"})
    assert Release.objects.filter(agent=demo).count() == 2


def test_the_page_leads_to_the_checks_of_this_draft(demo: Agent) -> None:
    page = client_of("bob", Role.BUILDER).get(button_of(demo, "publish_draft")).content.decode()
    assert "Only the configuration was checked just now" in page
    assert "/admin/monitoring/readinessrun/run/?agent=demo" in page


def test_the_page_of_a_run_whose_process_was_killed_does_not_wait_for_it() -> None:
    row = ReadinessRun.objects.create(subject="x", requested_as="olga")
    owner = client_of("olga", Role.OWNER)
    assert owner.get(row_url(row))["Refresh"] == "2"
    ReadinessRun.objects.update(started_at=now() - timedelta(minutes=4))
    page = owner.get(row_url(row))
    assert "Refresh" not in page
    assert "has ended before they were done" in page.content.decode()
