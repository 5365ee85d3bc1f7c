"""Create, change and archive agents, and edit their drafts. Each change is written to the audit trail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.domain.configuration import SETTINGS, AgentConfiguration
from agents.domain.demo_names import DEMO_PREFIX
from agents.models import Agent, AgentDraft
from agents.permissions.role_permissions import ADD_AGENT, CHANGE_AGENT, CHANGE_DRAFT
from agents.permissions.transcripts import require_wider_groups
from agents.releases.validation import check_runnable
from foundation.clock import now
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from foundation.names import clean_name

_DETAILS: Final = ("slug", "name", "description", "capabilities", "when_busy", "moves_sessions")


@transaction.atomic
def create_agent(
    actor: Actor, *, details: Mapping[str, Any], groups: Iterable[Group] = (), model_chain: Sequence[str]
) -> Agent:
    """A new agent with a draft on `model_chain`; nobody can talk to it before its first release.

    `details` are slug, name, description, capabilities, when_busy and moves_sessions, already valid. Raises
    `Forbidden`, and `InvalidInput` for a slug of the demo's.
    """
    require_permission(actor, ADD_AGENT)
    _refuse_demo_slug(details["slug"])
    agent = Agent.objects.create(**_values(details))
    group_list = list(groups)
    agent.groups.set(group_list)
    AgentDraft.objects.create(agent=agent, configuration=AgentConfiguration(model_chain=tuple(model_chain)).dump())
    record_audit(actor, "agent.created", target=agent, detail=_group_detail(set(), set(group_list)))
    return agent


@transaction.atomic
def change_agent(
    actor: Actor, *, agent_id: UUID, expected_version: int, details: Mapping[str, Any], groups: Iterable[Group]
) -> Agent:
    """Change the details and groups of an agent, which are not part of a release, and return it. Raises `NotFound`,
    `PreconditionFailed` when its version is not `expected_version`, and `Forbidden`, also for groups that let more
    people read its transcripts than may now, of which the actor is none; `InvalidInput` for a slug of the demo's."""
    require_permission(actor, CHANGE_AGENT)
    agent = _lock_agent(agent_id)
    if agent.version != expected_version:
        raise PreconditionFailed
    values = _values(details)
    if values.get("slug", agent.slug) != agent.slug:
        _refuse_demo_slug(values["slug"])
    changed = [name for name, value in values.items() if getattr(agent, name) != value]
    old_groups, new_groups = set(agent.groups.all()), set(groups)
    if old_groups != new_groups:
        require_wider_groups(actor, agent, {group.pk for group in new_groups})
        agent.groups.set(new_groups)
        changed.append("groups")
    if changed:
        for name, value in values.items():
            setattr(agent, name, value)
        agent.version += 1
        agent.save(update_fields=[*values, "version"])
        detail = {"fields": changed, **_group_detail(old_groups, new_groups)}
        record_audit(actor, "agent.changed", target=agent, detail=detail)
    return agent


@transaction.atomic
def archive_agent(actor: Actor, *, agent_id: UUID) -> Agent:
    """Archive an agent: it takes no new sessions or messages, and its sessions stay readable. Idempotent. Raises
    `Forbidden`, `NotFound`, and `Conflict` while a deployment is under way."""
    require_permission(actor, CHANGE_AGENT)
    agent = _lock_agent(agent_id)
    if agent.deployment_id is not None:
        raise Conflict("A deployment of this agent is under way. End it first.")
    if agent.archived_at is None:
        _save_version(agent, archived_at=now())
        record_audit(actor, "agent.archived", target=agent)
    return agent


@transaction.atomic
def restore_agent(actor: Actor, *, agent_id: UUID) -> Agent:
    """Take an agent out of the archive. Idempotent. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, CHANGE_AGENT)
    agent = _lock_agent(agent_id)
    if agent.archived_at is not None:
        _save_version(agent, archived_at=None)
        record_audit(actor, "agent.restored", target=agent)
    return agent


@transaction.atomic
def change_draft(
    actor: Actor, *, agent_id: UUID, expected_version: int, configuration: AgentConfiguration
) -> AgentDraft:
    """Replace the draft's configuration. Raises `Forbidden`, `NotFound`, `PreconditionFailed` when the draft's
    version is not `expected_version`, `InvalidInput` with a pointer when no turn could run on it, and
    `NewerConfiguration` when a newer version wrote the draft."""
    require_permission(actor, CHANGE_DRAFT)
    check_runnable(configuration)
    draft = AgentDraft.objects.select_for_update(no_key=True).filter(agent_id=agent_id).first()
    if draft is None:
        raise NotFound("There is no such agent here.")
    if draft.version != expected_version:
        raise PreconditionFailed
    old = AgentConfiguration.parse(draft.configuration)
    changed = [name for name in SETTINGS if getattr(old, name) != getattr(configuration, name)]
    if changed:
        _save_version(draft, configuration=configuration.dump())
        record_audit(actor, "draft.changed", target=draft, detail={"fields": changed})
    return draft


def _refuse_demo_slug(slug: str) -> None:
    """The agents of the demo are removed with all their conversations, and count in no metric."""
    if slug.startswith(DEMO_PREFIX):
        raise InvalidInput(f"Slugs that begin with {DEMO_PREFIX} are those of the demo.", pointer="/slug")


def _values(details: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: details[name] for name in _DETAILS if name in details}
    return values | {"name": clean_name(values["name"])} if "name" in values else values


def _group_detail(old: set[Group], new: set[Group]) -> dict[str, dict[str, list[str]]]:
    """What the audit trail keeps of a change of groups; nothing of none."""
    if old == new:
        return {}
    added, removed = (sorted(group.name for group in groups) for groups in (new - old, old - new))
    return {"groups": {"added": added, "removed": removed}}


def _lock_agent(agent_id: UUID) -> Agent:
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id).first()
    if agent is None:
        raise NotFound("There is no such agent here.")
    return agent


def _save_version(row: Agent | AgentDraft, **values: Any) -> None:
    """Save `values` in a locked row as its next version."""
    for name, value in values.items():
        setattr(row, name, value)
    row.version += 1
    row.save(update_fields=[*values, "version", *(["updated_at"] if isinstance(row, AgentDraft) else [])])
