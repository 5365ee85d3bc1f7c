"""The built-in roles: Django groups whose permissions `sync_roles` sets to exactly what the apps declare. Groups of
other names are never touched.

Roles include each other, so that one per user is enough: operator and builder include viewer, and owner includes all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Final

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q, QuerySet


class Role(StrEnum):
    USER = "user"
    VIEWER = "viewer"
    OPERATOR = "operator"
    BUILDER = "builder"
    OWNER = "owner"


# What a role is for, as the console shows it.
ROLE_DESCRIPTIONS: dict[Role, str] = {
    Role.USER: "Chats with agents. Everybody who should chat needs it.",
    Role.VIEWER: "Reads the console: conversations, agents, runners, the audit trail. Changes nothing.",
    Role.OPERATOR: "Reads the console; stops, retries, requeues, fails and forks what others do.",
    Role.BUILDER: "Reads the console; makes agents, edits and publishes them.",
    Role.OWNER: "Does everything, and decides on people, keys and schedules.",
}

# The roles whose permissions a role includes.
_INCLUDES: Final[dict[Role, tuple[Role, ...]]] = {
    Role.USER: (),
    Role.VIEWER: (),
    Role.OPERATOR: (Role.VIEWER,),
    Role.BUILDER: (Role.VIEWER,),
    Role.OWNER: (Role.USER, Role.VIEWER, Role.OPERATOR, Role.BUILDER),
}
_declared: dict[Role, set[str]] = {role: set() for role in Role}


def declare_role_permissions(permissions: Mapping[Role, Iterable[str]]) -> None:
    """Add permissions ("agents.cancel_turn") to roles, and to the roles that include them. Apps call it in
    `AppConfig.ready()`."""
    for role, names in permissions.items():
        _declared[role].update(names)


def role_permissions() -> dict[Role, frozenset[str]]:
    """The permissions of each role, included ones too, as declared by the apps."""
    return {
        role: frozenset(_declared[role]).union(*(_declared[included] for included in _INCLUDES[role])) for role in Role
    }


def grantable_permissions() -> QuerySet[Permission]:
    """The permissions that a group can be given: those that some role holds."""
    names = frozenset().union(*_declared.values())
    conditions = [Q(content_type__app_label=app, codename=codename) for app, codename in (n.split(".") for n in names)]
    rows = Permission.objects.filter(reduce(or_, conditions, Q(pk__in=())))
    return rows.select_related("content_type").order_by("name")


@transaction.atomic
def sync_roles() -> None:
    """Set the permissions of the five groups to exactly what is declared. Idempotent; concurrent calls wait for each
    other's rows.

    Raises `LookupError` for a declared permission that no model has.
    """
    for config in apps.get_app_configs():
        create_permissions(config, verbosity=0)
    rows = Permission.objects.select_related("content_type")
    permission_ids = {f"{row.content_type.app_label}.{row.codename}": row.pk for row in rows}
    for role, names in role_permissions().items():
        if missing := sorted(names - permission_ids.keys()):
            raise LookupError(f"The role {role} holds permissions that do not exist: {', '.join(missing)}")
        group, _ = Group.objects.get_or_create(name=role)
        expected = {permission_ids[name] for name in names}
        if expected != set(group.permissions.values_list("pk", flat=True)):
            group.permissions.set(expected)
