"""Create, change, copy and delete groups, which decide who may talk to which agent and can serve as custom roles. The
five built-in roles (`accounts.roles`) are groups, too: they cannot be changed, only copied."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.models import User
from accounts.permissions import effective_permissions, require_permission, require_relation_rights
from accounts.role_permissions import ADD_GROUP, CHANGE_GROUP, DELETE_GROUP
from accounts.roles import Role
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound
from foundation.visible_text import is_printable

# Callables that raise `Conflict` to refuse the deletion of a group.
_guards: list[Callable[[Group], None]] = []


def register_group_guard(guard: Callable[[Group], None]) -> None:
    """Register a callable that runs before a group is deleted and raises `Conflict` while its app needs the group."""
    if guard not in _guards:
        _guards.append(guard)


def is_role(group: Group) -> bool:
    """Whether `group` is one of the five built-in roles."""
    return group.name in set(Role)


@transaction.atomic
def create_group(actor: Actor, *, name: str) -> Group:
    """Create a group without permissions. Raises `Conflict` for a name in use, `Forbidden`, `InvalidInput`."""
    require_permission(actor, ADD_GROUP)
    group = _create_group_row(name)
    record_audit(actor, "group.created", target=group)
    return group


@transaction.atomic
def copy_group(actor: Actor, *, group_id: int, name: str) -> Group:
    """Create a group with the present permissions of another group or built-in role; its users are not copied.

    Raises `Conflict` for a name in use, `NotFound`, `InvalidInput`, and `Forbidden`, also for permissions that
    the actor lacks.
    """
    require_permission(actor, ADD_GROUP)
    original = Group.objects.filter(pk=group_id).first()
    if original is None:
        raise NotFound("There is no such group here.")
    permissions = list(original.permissions.select_related("content_type"))
    _require_all(actor, permissions)
    group = _create_group_row(name)
    group.permissions.set(permissions)
    record_audit(actor, "group.created", target=group, detail={"copy_of": original.name})
    return group


@transaction.atomic
def change_group(actor: Actor, *, group_id: int, name: str, permissions: Iterable[Permission] | None = None) -> Group:
    """Rename a group and replace its permissions; None leaves those unchanged.

    Raises `NotFound`, `Conflict` for a built-in role, and `Forbidden`, also for permissions that the actor lacks and
    for further ones of people whose groups open what is closed to the actor.
    """
    require_permission(actor, CHANGE_GROUP)
    group = _locked(group_id)
    old_name, group.name = group.name, _name(name)
    if group.name != old_name:
        group.save(update_fields=["name"])
        record_audit(actor, "group.renamed", target=group, detail={"before": old_name})
    if permissions is not None:
        old, new = set(group.permissions.select_related("content_type")), set(permissions)
        _require_all(actor, new - old)
        if old != new:
            group.permissions.set(new)
            if new - old:
                # With a further permission its people may do more with what their groups open.
                require_relation_rights(actor, User.objects.filter(groups=group))
            detail = {"added": _permission_names(new - old), "removed": _permission_names(old - new)}
            record_audit(actor, "group.permissions_changed", target=group, detail=detail)
    return group


@transaction.atomic
def delete_group(actor: Actor, *, group_id: int) -> None:
    """Delete a group. Raises `Forbidden`, `NotFound`, and `Conflict` for a built-in role or when a guard refuses: an
    agent that is restricted to this group alone would become visible to everybody.
    """
    require_permission(actor, DELETE_GROUP)
    group = _locked(group_id)
    for refuse_if_needed in _guards:
        refuse_if_needed(group)
    record_audit(actor, "group.deleted", target=group, detail={"people": User.objects.filter(groups=group).count()})
    group.delete()


def _locked(group_id: int) -> Group:
    group = Group.objects.select_for_update(no_key=True).filter(pk=group_id).first()
    if group is None:
        raise NotFound("There is no such group here.")
    if is_role(group):
        raise Conflict("The roles stay as they are.")
    return group


def _create_group_row(name: str) -> Group:
    name = _name(name)
    if Group.objects.filter(name=name).exists():
        raise Conflict("There is a group of this name already.")
    return Group.objects.create(name=name)


def _require_all(actor: Actor, permissions: Iterable[Permission]) -> None:
    allowed = effective_permissions(actor)
    if allowed is not None and not set(_permission_names(permissions)) <= allowed:
        raise Forbidden("You cannot give a group permissions that you do not hold.")


def _permission_names(permissions: Iterable[Permission]) -> list[str]:
    return sorted(f"{permission.content_type.app_label}.{permission.codename}" for permission in permissions)


def _name(name: str) -> str:
    title = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(title) <= 150 or not is_printable(title):
        raise InvalidInput("A name has 1 to 150 printable characters.", pointer="/name")
    if unicodedata.normalize("NFKC", title).casefold() in set(Role):
        raise Conflict("A built-in role is called so, or looks as if it were.")
    return title
