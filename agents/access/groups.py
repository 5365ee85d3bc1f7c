"""Groups that decide who may talk to which agent. The five roles are groups, too; they stay as they are."""

from __future__ import annotations

import unicodedata

from django.contrib.auth.models import Group
from django.db import transaction

from agents.access.actor import Actor
from agents.access.audit import record
from agents.access.permissions import need_permission
from agents.access.roles import ADD_GROUP, CHANGE_GROUP, DELETE_GROUP, Role
from agents.models import Agent, User
from foundation.errors import Conflict, InvalidInput, NotFound


def is_role(group: Group) -> bool:
    """Whether it is one of the five."""
    return group.name in set(Role)


@transaction.atomic
def create_group(actor: Actor, *, name: str) -> Group:
    """A new group without permissions. Raises `Forbidden`, `InvalidInput`."""
    need_permission(actor, ADD_GROUP)
    group = Group.objects.create(name=_name(name))
    record(actor, "group.created", target=group)
    return group


@transaction.atomic
def rename_group(actor: Actor, *, group_id: int, name: str) -> Group:
    """Call a group something else. Raises `Forbidden`, `NotFound`, and `Conflict` for a role."""
    need_permission(actor, CHANGE_GROUP)
    group = _locked(group_id)
    before, group.name = group.name, _name(name)
    if group.name != before:
        group.save(update_fields=["name"])
        record(actor, "group.renamed", target=group, detail={"before": before})
    return group


@transaction.atomic
def delete_group(actor: Actor, *, group_id: int) -> None:
    """Delete a group. Raises `Conflict` for a role, and while an agent is only for it: everybody would see that agent.

    Also raises `Forbidden`, `NotFound`.
    """
    need_permission(actor, DELETE_GROUP)
    group = _locked(group_id)
    agents = Agent.objects.filter(groups=group).order_by("name")
    if agents:
        names = ", ".join(agent.name for agent in agents)
        raise Conflict(
            f"These agents are only for some groups, and this is one of them: {names}. Take it off them first."
        )
    record(actor, "group.deleted", target=group, detail={"people": User.objects.filter(groups=group).count()})
    group.delete()


def _locked(group_id: int) -> Group:
    group = Group.objects.select_for_update(no_key=True).filter(pk=group_id).first()
    if group is None:
        raise NotFound("There is no such group here.")
    if is_role(group):
        raise Conflict("The roles stay as they are.")
    return group


def _name(name: str) -> str:
    title = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(title) <= 150 or not title.isprintable():
        raise InvalidInput("A name has 1 to 150 printable characters.", pointer="/name")
    return title
