"""Choose the release of a new session."""

from __future__ import annotations

from typing import Final

from agents.domain.deployments import DeploymentPlan, DeploymentState, candidate_percent, gets_candidate
from agents.models import Agent, Release
from foundation.errors import InvalidInput

# What `release_for` reads of an agent, for `select_related`.
CHOICES: Final = ("live_release", "deployment__candidate", "deployment__baseline")


def release_for(agent: Agent, key: str) -> Release:
    """The release that a new session with `agent` gets: the live one, or while a deployment divides the users, its
    candidate or its baseline.

    `key` identifies the user of the session: equal keys get equal releases, so that all new chats of a user behave
    alike. Raises `InvalidInput` while the agent has no release.
    """
    if agent.live_release is None:
        raise InvalidInput("There is no such agent.", pointer="/agent")
    deployment = agent.deployment
    if deployment is None:
        return agent.live_release
    plan = DeploymentPlan.parse(deployment.plan)
    percent = candidate_percent(DeploymentState(deployment.state), plan, deployment.step)
    if not percent:
        return agent.live_release
    return deployment.candidate if gets_candidate(deployment.pk, key, percent) else deployment.baseline
