"""Agents as people make and change them."""

from __future__ import annotations

import pytest

from accounts.actor import Actor
from agents.models import Agent
from agents.releases.agent_editing import change_agent, create_agent
from foundation.errors import InvalidInput

SYSTEM = Actor.system("tests")


@pytest.mark.django_db
def test_no_agent_is_called_as_those_that_go_with_the_demo() -> None:
    with pytest.raises(InvalidInput, match="those of the demo"):
        create_agent(SYSTEM, details={"slug": "sample-faq", "name": "FAQ"}, model_chain=["offline:"])
    faq = create_agent(SYSTEM, details={"slug": "faq", "name": "FAQ"}, model_chain=["offline:"])
    with pytest.raises(InvalidInput):
        change_agent(SYSTEM, agent_id=faq.pk, expected_version=1, details={"slug": "sample-faq"}, groups=[])
    assert [agent.slug for agent in Agent.objects.all()] == ["faq"]
    # One of the demo may be looked into and changed.
    Agent.objects.update(slug="sample-support")
    details = {"slug": "sample-support", "name": "Support"}
    assert change_agent(SYSTEM, agent_id=faq.pk, expected_version=1, details=details, groups=[]).name == "Support"
