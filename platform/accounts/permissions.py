"""What an actor may, from the roles of the user behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.models import AnonymousUser, Group

from accounts.actor import Actor, Scope
from accounts.models import User
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT
from foundation.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

# Those that the scopes of an actor follow from.
SCOPE_PERMISSIONS: Final = (USE_CHAT, ENTER_CONSOLE)


def held_permissions_sql(permissions: Iterable[str]) -> str:
    """An array of those of `permissions` ("accounts.use_chat") that the user in the row `u` holds, as SQL.

    It says what `User.has_perm` would answer, in a statement that asks for something else besides, or for many users.
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
    """What a user with these permissions may do over the interfaces: everybody reads what is their own."""
    names = frozenset(permissions)
    scopes = {Scope.READ}
    if USE_CHAT in names:
        scopes.add(Scope.CHAT)
    if ENTER_CONSOLE in names:
        scopes.add(Scope.MANAGE)
    return frozenset(scopes)


def user_actor(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """The actor behind a browser's login. Raises `Unauthenticated` for nobody and for a closed account."""
    if not isinstance(user, User) or not user.is_active:
        raise Unauthenticated(rule="login")
    granted = [permission for permission in SCOPE_PERMISSIONS if user.has_perm(permission)]
    return Actor.user(user_id=user.pk, name=user.get_username(), scopes=permission_scopes(granted))


def has_permission(actor: Actor, permission: str) -> bool:
    """Whether the actor's user holds `permission` ("agents.publish_agent") now; the system holds every one."""
    if actor.user_id is None:
        return True
    user = User.objects.filter(pk=actor.user_id, is_active=True).first()
    return user is not None and Scope.MANAGE in actor.scopes and user.has_perm(permission)


def require_permission(actor: Actor, permission: str) -> None:
    """Raise `Forbidden` unless `has_permission(actor, permission)`."""
    if not has_permission(actor, permission):
        raise Forbidden(rule=permission)


def effective_permissions(actor: Actor) -> set[str] | None:
    """The permissions of the actor's user now; None: every one."""
    if actor.user_id is None:
        return None
    user = User.objects.get(pk=actor.user_id)
    return None if user.is_superuser and user.is_active else user.get_all_permissions()


def require_rights_over(actor: Actor, user: User) -> None:
    """Raise `Forbidden` if `user` may more than the actor: such an account is not theirs to change."""
    allowed = effective_permissions(actor)
    if allowed is not None and (user.is_superuser or not user.get_all_permissions() <= allowed):
        raise Forbidden("This person may do more than you; only they or their like can change this account.")
