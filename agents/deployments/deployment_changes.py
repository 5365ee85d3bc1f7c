"""The moves of deployments: begin, promote, hold, resume, go back. Each is one transaction with an audit entry.

All lock the agent first, then the deployment, and update the row that they have read, so that of two people who press
at the same time one has an effect and the other an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.deployments.measurements import measure_reference
from agents.deployments.promotion_checks import require_validated
from agents.domain.configuration import AgentConfiguration
from agents.domain.deployments import ENDED_DEPLOYMENTS, FULLY_LIVE, SPLITTING, DeploymentPlan, DeploymentState
from agents.domain.evaluations import RunState
from agents.evaluations.evaluation_runs import begin_run
from agents.models import Agent, AgentDraft, Deployment, EvaluationRun, Release, TestSet, WithdrawnRelease
from agents.permissions.role_permissions import PUBLISH_AGENT
from agents.releases.publish import insert_release, lock_agent
from agents.releases.validation import check_runnable
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed

log = structlog.get_logger(__name__)

S = DeploymentState
MAX_REASON: Final = 400
# Where `promote_deployment` goes from each state, but for the steps of canary.
_NEXT: Final[Mapping[DeploymentState, DeploymentState]] = {
    S.DRAFT: S.STAGING,
    S.STAGING: S.VALIDATING,
    S.VALIDATING: S.CANARY,
    S.CANARY: S.LIVE,
    S.LIVE: S.WATCHING,
    S.WATCHING: S.DONE,
}


@transaction.atomic
def begin_deployment(
    actor: Actor,
    *,
    agent_id: UUID,
    expected_version: int | None = None,
    release_number: int | None = None,
    plan: DeploymentPlan | None = None,
    test_set_id: UUID | None = None,
    note: str = "",
) -> Deployment:
    """Begin to bring a release to the users of an agent, and return the deployment in staging: that of the number, or
    else the next one, made of the draft, whose version is `expected_version`, if not None. The release is not live.

    Raises `Forbidden`, `NotFound`, `PreconditionFailed` for another version of the draft, `InvalidInput` with a
    pointer, and `Conflict` while another deployment of the agent is under way, before its first release, and for a
    release whose sessions are still being moved away.
    """
    require_permission(actor, PUBLISH_AGENT)
    agent = lock_agent(agent_id)
    if agent.archived_at is not None:
        raise Conflict("This agent is archived.")
    if agent.deployment_id is not None:
        raise Conflict("Another deployment of this agent is under way.")
    if agent.live_release is None:
        raise Conflict("Publish its first release: there is nothing to compare with yet.")
    if test_set_id is not None:
        _check_test_set(actor, agent, test_set_id)
    if release_number is None:
        candidate = insert_release(actor, agent, _read_draft(agent, expected_version), note)
    else:
        candidate = _find_candidate(agent, release_number)
    deployment = Deployment.objects.create(
        agent=agent,
        candidate=candidate,
        baseline=agent.live_release,
        plan=(plan or DeploymentPlan()).dump(),
        test_set_id=test_set_id,
        created_by_id=actor.user_id,
    )
    _move(deployment, S.STAGING)
    agent.deployment = deployment
    _save_agent(agent, "deployment")
    _record(actor, deployment, "deployment.begun", note=note)
    return deployment


@transaction.atomic
def promote_deployment(actor: Actor, *, deployment_id: UUID, expected_version: int, reason: str = "") -> Deployment:
    """Move a deployment on, and return it: to its next state, or to the next step of its plan.

    To `validating` begins its test set, which whoever began the deployment pays. Raises `Forbidden`, `NotFound`,
    `PreconditionFailed` when somebody has moved it since that version, and from `validating` what `require_validated`
    does; `reason` is for going on in spite of that.
    """
    require_permission(actor, PUBLISH_AGENT)
    deployment = _lock(deployment_id, expected_version)
    state = DeploymentState(deployment.state)
    detail: dict[str, Any] = {}
    if state is S.CANARY and deployment.step + 1 < len(DeploymentPlan.parse(deployment.plan).steps):
        _move(deployment, S.CANARY, step=deployment.step + 1)
    else:
        after = _NEXT[state]
        values: dict[str, Any] = {}
        if after is S.CANARY:
            detail = require_validated(actor, deployment, reason=reason)
            values["reference"] = measure_reference(deployment.baseline_id)
        _move(deployment, after, **values)
        _follow(actor, deployment, after)
    _record(actor, deployment, "deployment.promoted", state=deployment.state, step=deployment.step, **detail)
    return deployment


@transaction.atomic
def repeat_evaluation(actor: Actor, *, deployment_id: UUID) -> EvaluationRun:
    """Run the test set of a deployment in validation once more. Raises `Forbidden`, `NotFound`, and `Conflict` while it
    runs, without one, or in another state."""
    require_permission(actor, PUBLISH_AGENT)
    deployment = _lock(deployment_id, None)
    if deployment.state != S.VALIDATING or deployment.test_set_id is None:
        raise Conflict("Only a deployment in validation has a test set to run.")
    if deployment.evaluations.filter(state=RunState.RUNNING).exists():
        raise Conflict("Its test set is still running.")
    return _begin_run(actor, deployment)


@transaction.atomic
def hold_deployment(actor: Actor, *, deployment_id: UUID, expected_version: int | None = None) -> Deployment:
    """Keep a deployment where it is: it does not go on by itself, but is still withdrawn if it is bad. Idempotent.
    Raises `Forbidden`, `NotFound`, `PreconditionFailed`, and `Conflict` for one that has ended."""
    require_permission(actor, PUBLISH_AGENT)
    deployment = _lock(deployment_id, expected_version)
    if deployment.held_at is None:
        _update(deployment, held_at=Now())
        _record(actor, deployment, "deployment.held")
    return deployment


@transaction.atomic
def resume_deployment(actor: Actor, *, deployment_id: UUID, expected_version: int | None = None) -> Deployment:
    """Let a deployment go on by itself again. Idempotent. Raises `Forbidden`, `NotFound`, `PreconditionFailed`,
    and `Conflict` for one that has ended."""
    require_permission(actor, PUBLISH_AGENT)
    deployment = _lock(deployment_id, expected_version)
    if deployment.held_at is not None:
        _update(deployment, held_at=None)
        _record(actor, deployment, "deployment.resumed")
    return deployment


@transaction.atomic
def go_back(
    actor: Actor, *, deployment_id: UUID, reason: str, expected_version: int | None = None, by_itself: bool = False
) -> Deployment:
    """End a deployment and return it: rolled back if users have met its candidate, else cancelled. The baseline is live
    again for every turn that is claimed after this transaction, and sessions of the candidate move to it.

    `by_itself`: a verdict withdraws it. Raises `Forbidden`, `NotFound`, `PreconditionFailed`, `InvalidInput` without a
    reason or for a long one, and `Conflict` for one that has ended.
    """
    require_permission(actor, PUBLISH_AGENT)
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise InvalidInput(f"A reason of at most {MAX_REASON} characters is expected.", pointer="/reason")
    deployment = _lock(deployment_id, expected_version)
    agent, state = deployment.agent, DeploymentState(deployment.state)
    has_met_users = state in SPLITTING
    _move(deployment, S.ROLLED_BACK if has_met_users else S.CANCELLED, reason=reason, ended_at=Now())
    if state in FULLY_LIVE:
        agent.live_release = deployment.baseline
    agent.deployment = None
    _save_agent(agent, "live_release", "deployment")
    if has_met_users:
        WithdrawnRelease.objects.update_or_create(
            release_id=deployment.candidate_id,
            defaults={"agent": agent, "deployment": deployment, "withdrawn_at": Now(), "moved_at": None},
        )
    deployment.evaluations.filter(state=RunState.RUNNING).update(
        state=RunState.STOPPED, reason="Its deployment has ended.", ended_at=Now()
    )
    action = "deployment.rolled_back" if has_met_users else "deployment.cancelled"
    _record(actor, deployment, action, from_state=state.value, reason=reason, by_itself=by_itself)
    return deployment


def _follow(actor: Actor, deployment: Deployment, state: DeploymentState) -> None:
    """What a move to `state` brings with it."""
    agent = deployment.agent
    if state is S.VALIDATING and deployment.test_set_id is not None:
        _begin_run(actor, deployment)
    elif state is S.LIVE:
        agent.live_release = deployment.candidate
        _save_agent(agent, "live_release")
    elif state is S.DONE:
        agent.deployment = None
        _save_agent(agent, "deployment")


def _begin_run(actor: Actor, deployment: Deployment) -> EvaluationRun:
    if deployment.test_set_id is None or deployment.created_by_id is None:
        raise Conflict("Nobody is there who pays for its test set.")
    return begin_run(
        actor,
        test_set_id=deployment.test_set_id,
        candidate=deployment.candidate,
        baseline=deployment.baseline,
        paid_by=deployment.created_by_id,
        deployment_id=deployment.pk,
    )


def _check_test_set(actor: Actor, agent: Agent, test_set_id: UUID) -> None:
    test_set = TestSet.objects.filter(pk=test_set_id, agent=agent).first()
    if test_set is None:
        raise InvalidInput("This agent has no such test set.", pointer="/test_set")
    if not test_set.cases.exists():
        raise InvalidInput("This test set has no entry.", pointer="/test_set")
    if actor.user_id is None:
        raise InvalidInput("Say who pays for the test set.", pointer="/test_set")


def _read_draft(agent: Agent, expected_version: int | None) -> AgentDraft:
    draft = AgentDraft.objects.filter(agent=agent).first()
    if draft is None:
        raise NotFound("There is no such agent here.")
    if expected_version is not None and draft.version != expected_version:
        raise PreconditionFailed
    return draft


def _find_candidate(agent: Agent, number: int) -> Release:
    release = agent.releases.filter(number=number).first()
    if release is None:
        raise InvalidInput("There is no such release here.", pointer="/release")
    if release.pk == agent.live_release_id:
        raise InvalidInput("This release is live already.", pointer="/release")
    check_runnable(AgentConfiguration.parse(release.configuration))
    withdrawn = WithdrawnRelease.objects.filter(release=release).first()
    if withdrawn is not None:
        if withdrawn.moved_at is None:
            raise Conflict("Sessions are still being moved away from this release. Try again in a minute.")
        withdrawn.delete()
    return release


def _lock(deployment_id: UUID, expected_version: int | None) -> Deployment:
    """The deployment, locked after its agent. Raises `NotFound`, `Conflict` for one that has ended, and
    `PreconditionFailed` for another version."""
    row = Deployment.objects.filter(pk=deployment_id).values_list("agent_id", flat=True).first()
    if row is None:
        raise NotFound("There is no such deployment here.")
    agent = lock_agent(row)
    deployment = (
        Deployment.objects.select_for_update(no_key=True, of=("self",))
        .select_related("candidate", "baseline")
        .get(pk=deployment_id)
    )
    deployment.agent = agent
    if expected_version is not None and deployment.version != expected_version:
        raise PreconditionFailed("Somebody has moved this deployment since you opened this page.")
    if deployment.state in ENDED_DEPLOYMENTS:
        raise Conflict("This deployment has ended.")
    return deployment


def _move(deployment: Deployment, state: DeploymentState, **values: Any) -> None:
    if state is S.DONE:
        values["ended_at"] = Now()
    _update(deployment, state=state, step_started_at=Now(), verdict={}, **values)


def _update(deployment: Deployment, **values: Any) -> None:
    """Write to the row that was read; a row that has changed since is left. Raises `PreconditionFailed`."""
    same = Deployment.objects.filter(pk=deployment.pk, state=deployment.state, version=deployment.version)
    if not same.update(version=F("version") + 1, **values):
        raise PreconditionFailed("Somebody has moved this deployment since you opened this page.")
    agent, candidate, baseline = deployment.agent, deployment.candidate, deployment.baseline
    deployment.refresh_from_db()
    deployment.agent, deployment.candidate, deployment.baseline = agent, candidate, baseline


def _save_agent(agent: Agent, *fields: str) -> None:
    agent.version += 1
    agent.save(update_fields=[*fields, "version"])


def _record(actor: Actor, deployment: Deployment, action: str, **detail: Any) -> None:
    agent, number = deployment.agent.slug, deployment.candidate.number
    kept = {name: value for name, value in detail.items() if value not in ("", False)}
    record_audit(actor, action, target=deployment, detail={"agent": agent, "release": number, **kept})
    log.info(
        "deployment.changed",
        action=action,
        actor=actor.name,
        agent=agent,
        release=number,
        deployment=str(deployment.pk),
        **kept,
    )
