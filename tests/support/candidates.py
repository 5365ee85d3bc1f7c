"""A second release of an agent, and deployments of it as rows, for tests of what reads them."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from agents.domain.deployments import DEFAULT_PLAN, DeploymentState
from agents.models import Agent, AgentSession, Deployment, Release, WithdrawnRelease


def add_release(agent: Agent, **configuration: object) -> Release:
    """The next release of `agent`, which is not live."""
    newest = agent.releases.order_by("-number").first()
    assert newest
    return Release.objects.create(
        agent=agent, number=newest.number + 1, configuration=newest.configuration | configuration
    )


def open_deployment(agent: Agent, candidate: Release, state: DeploymentState = DeploymentState.STAGING) -> Deployment:
    """A deployment of `candidate` that is under way."""
    assert agent.live_release
    deployment = Deployment.objects.create(
        agent=agent, candidate=candidate, baseline=agent.live_release, state=state, plan=DEFAULT_PLAN.dump()
    )
    Agent.objects.filter(pk=agent.pk).update(deployment=deployment)
    return deployment


@transaction.atomic
def withdraw(deployment: Deployment) -> None:
    """What going back writes."""
    Deployment.objects.filter(pk=deployment.pk).update(state=DeploymentState.ROLLED_BACK, ended_at=Now())
    Agent.objects.filter(pk=deployment.agent_id).update(deployment=None, live_release=deployment.baseline_id)
    WithdrawnRelease.objects.create(
        release_id=deployment.candidate_id, agent_id=deployment.agent_id, deployment=deployment
    )


def pin(session: AgentSession, release: Release) -> None:
    """Pin the session and its turns as if it had been begun on `release`."""
    AgentSession.objects.filter(pk=session.pk).update(release=release)
    session.turns.update(release=release)
