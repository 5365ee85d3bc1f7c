"""What an actor may do, by the permissions of its user."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Set
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import QuerySet

from accounts.actor import Actor, Scope
from accounts.models import User
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT
from accounts.roles import Role
from foundation.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

# The permissions that determine the scopes of an actor.
SCOPE_PERMISSIONS: Final = (USE_CHAT, ENTER_CONSOLE)

# What at least one of some users may do with rows of an app because both have a group in common.
RelationRights = Callable[[QuerySet[User]], Set[Hashable]]
_relation_rights: list[RelationRights] = []


def register_relation_rights(rights: RelationRights) -> None:
    """Register the rights that hang on the groups of an app's rows, so that nobody gives others more than their own."""
    if rights not in _relation_rights:
        _relation_rights.append(rights)


def held_permissions_sql(permissions: Iterable[str]) -> str:
    """An SQL expression: the array of those of `permissions` ("accounts.use_chat") that the user in the row `u` holds.

    It agrees with `User.has_perm`, for use within larger queries or for many users.
    """
    members: Any = User.groups.through
    grants: Any = Group.permissions.through
    own: Any = User.user_permissions.through
    pairs = ", ".join("('{}', '{}')".format(*permission.split(".")) for permission in permissions)
    return f"""ARRAY(
        SELECT c.app_label || '.' || p.codename
        FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
        WHERE (c.app_label, p.codename) IN ({pairs}) AND u.is_active
          AND (u.is_superuser
               OR EXISTS (SELECT FROM {members._meta.db_table} m
                          JOIN {grants._meta.db_table} g ON g.group_id = m.group_id
                          WHERE m.user_id = u.id AND g.permission_id = p.id)
               OR EXISTS (SELECT FROM {own._meta.db_table} o WHERE o.user_id = u.id AND o.permission_id = p.id)))
    """  # noqa: S608 - names of tables, and of permissions as the code has them


def permission_scopes(permissions: Iterable[str]) -> frozenset[Scope]:
    """The scopes of a user with these permissions. Everybody has `read`, for their own data."""
    names = frozenset(permissions)
    scopes = {Scope.READ}
    if USE_CHAT in names:
        scopes.add(Scope.CHAT)
    if ENTER_CONSOLE in names:
        scopes.add(Scope.MANAGE)
    return frozenset(scopes)


def user_actor(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """The actor of a browser session. Raises `Unauthenticated` for anonymous users and closed accounts."""
    if not isinstance(user, User) or not user.is_active:
        raise Unauthenticated(rule="login")
    granted = [permission for permission in SCOPE_PERMISSIONS if user.has_perm(permission)]
    return Actor.user(user_id=user.pk, name=user.get_username(), scopes=permission_scopes(granted))


def has_permission(actor: Actor, permission: str) -> bool:
    """Whether the actor's user holds `permission` ("agents.publish_agent") now; True for the system."""
    if actor.user_id is None:
        return True
    user = User.objects.filter(pk=actor.user_id, is_active=True).first()
    return user is not None and Scope.MANAGE in actor.scopes and user.has_perm(permission)


def require_permission(actor: Actor, permission: str) -> None:
    """Raise `Forbidden` unless `has_permission(actor, permission)`."""
    if not has_permission(actor, permission):
        raise Forbidden(rule=permission)


def effective_permissions(actor: Actor) -> set[str] | None:
    """The present permissions of the actor's user; None: all of them."""
    if actor.user_id is None:
        return None
    user = User.objects.get(pk=actor.user_id)
    return None if user.is_superuser and user.is_active else user.get_all_permissions()


def is_owner(actor: Actor) -> bool:
    """Whether the actor's user has the role of an owner or is a superuser; True for the system."""
    if actor.user_id is None:
        return True
    user = User.objects.filter(pk=actor.user_id, is_active=True).first()
    return user is not None and (user.is_superuser or user.groups.filter(name=Role.OWNER).exists())


def require_rights_over(actor: Actor, user: User) -> None:
    """Raise `Forbidden` if `user` may do what the actor may not, by permissions or by groups, which protects accounts
    from less privileged operators."""
    allowed = effective_permissions(actor)
    if allowed is None:
        return
    if user.is_superuser or not user.get_all_permissions() <= allowed:
        raise Forbidden("This person may do more than you; only they or their like can change this account.")
    require_relation_rights(actor, User.objects.filter(pk=user.pk))


def require_relation_rights(actor: Actor, users: QuerySet[User]) -> None:
    """Raise `Forbidden` if one of `users`, closed accounts included, has by a group what the actor has not: the use of
    an agent, its transcripts. Owners may give it, though they have it not themselves."""
    if actor.user_id is None or is_owner(actor):
        return
    own = User.objects.filter(pk=actor.user_id)
    if any(not rights(users) <= rights(own) for rights in _relation_rights):
        raise Forbidden(
            "These groups open what is closed to you; only an owner, or somebody whose groups open it, can do this.",
            rule="relation_rights",
        )
