import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import Agent
from agents.permissions.agents import access_agent, visible_agents
from foundation.errors import NotFound
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


def test_an_agent_without_groups_is_for_everybody() -> None:
    demo = agent()
    assert access_agent(actor=user_actor(person("ada", Role.USER)), slug="demo") == demo


def test_an_agent_with_groups_is_for_their_people_once() -> None:
    sales, lawyers = Group.objects.create(name="sales"), Group.objects.create(name="lawyers")
    agent("law", groups=[sales, lawyers])
    ada, bob = person("ada", Role.USER), person("bob", Role.USER)
    ada.groups.add(sales, lawyers)
    assert [one.slug for one in visible_agents(user_actor(ada))] == ["law"]
    assert access_agent(actor=user_actor(ada), slug="law")
    with pytest.raises(NotFound):
        access_agent(actor=user_actor(bob), slug="law")


def test_archived_and_unpublished_agents_are_absent() -> None:
    agent("old")
    Agent.objects.update(archived_at=timezone.now())
    Agent.objects.create(slug="new", name="New")
    assert not visible_agents(user_actor(person("ada", Role.USER)))
