"""What an actor may, from the roles of the user behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser

from accounts.actor import Actor, Scope
from accounts.models import User
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT
from foundation.errors import Forbidden, Unauthenticated

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def scopes_of(permissions: Iterable[str]) -> frozenset[Scope]:
    """What a user with these permissions may do over the interfaces: everybody reads what is their own."""
    held = frozenset(permissions)
    scopes = {Scope.READ}
    if USE_CHAT in held:
        scopes.add(Scope.CHAT)
    if ENTER_CONSOLE in held:
        scopes.add(Scope.MANAGE)
    return frozenset(scopes)


def actor_of(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """The actor behind a browser's login. Raises `Unauthenticated` for nobody and for a closed account."""
    if not isinstance(user, User) or not user.is_active:
        raise Unauthenticated(rule="login")
    held = [permission for permission in (USE_CHAT, ENTER_CONSOLE) if user.has_perm(permission)]
    return Actor.user(user_id=user.pk, name=user.get_username(), scopes=scopes_of(held))


def may(actor: Actor, permission: str) -> bool:
    """Whether the actor's user holds `permission` ("agents.publish_agent") now; the system holds every one."""
    if actor.user_id is None:
        return True
    user = User.objects.filter(pk=actor.user_id, is_active=True).first()
    return user is not None and Scope.MANAGE in actor.scopes and user.has_perm(permission)


def need_permission(actor: Actor, permission: str) -> None:
    """Raise `Forbidden` unless `may(actor, permission)`."""
    if not may(actor, permission):
        raise Forbidden(rule=permission)


def permissions_held(actor: Actor) -> set[str] | None:
    """The permissions of the actor's user now; None: every one."""
    if actor.user_id is None:
        return None
    user = User.objects.get(pk=actor.user_id)
    return None if user.is_superuser and user.is_active else user.get_all_permissions()


def need_rights_over(actor: Actor, user: User) -> None:
    """Raise `Forbidden` if `user` may more than the actor: such an account is not theirs to change."""
    held = permissions_held(actor)
    if held is not None and (user.is_superuser or not user.get_all_permissions() <= held):
        raise Forbidden("This person may do more than you; only they or their like can change this account.")
