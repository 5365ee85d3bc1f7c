"""Create, change, close and reopen accounts. No actor can raise their own permissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import structlog
from django.contrib.auth.models import Group
from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.email_outbox import email_enabled, queue_emails
from accounts.models import OutgoingEmail, User
from accounts.password_links import INVITED, make_link_path
from accounts.permissions import (
    effective_permissions,
    require_permission,
    require_relation_rights,
    require_rights_over,
)
from accounts.role_permissions import ADD_USER, CHANGE_USER
from accounts.roles import Role
from foundation.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from foundation.names import clean_name

# The most users that a search by name prefix returns.
MAX_MATCHES: Final = 8

_DETAILS: Final = ("username", "first_name", "last_name", "email")

log = structlog.get_logger(__name__)


@transaction.atomic
def create_user(actor: Actor, *, details: Mapping[str, Any], groups: Iterable[Group]) -> User:
    """Create an account without a password; its user needs a `password_link`.

    `details` are username, first_name, last_name and email, already validated. Raises `Forbidden`, also for a group
    that may do, or opens, what the actor may not.
    """
    require_permission(actor, ADD_USER)
    group_list = list(groups)
    _require_all(actor, group_list)
    user = User(**_values(details))
    user.set_unusable_password()
    user.save()
    user.groups.set(group_list)
    require_relation_rights(actor, User.objects.filter(pk=user.pk))
    record_audit(actor, "user.created", target=user, detail={"groups": sorted(group.name for group in group_list)})
    return user


@transaction.atomic
def update_user(
    actor: Actor, *, user_id: int, expected_version: int, details: Mapping[str, Any], groups: Iterable[Group]
) -> User:
    """Change names, address and groups. Raises `NotFound`, `PreconditionFailed` for a stale version, `Forbidden` for
    the actor's own groups or what the actor may not do or reach, and `Conflict` if no owner would remain."""
    require_permission(actor, CHANGE_USER)
    user = _locked(user_id)
    if user.version != expected_version:
        raise PreconditionFailed
    require_rights_over(actor, user)
    values = _values(details)
    changed = [name for name, value in values.items() if getattr(user, name) != value]
    old_groups, new_groups = set(user.groups.all()), set(groups)
    detail: dict[str, Any] = {"fields": changed}
    if old_groups != new_groups:
        _check_regroup(actor, user, old_groups, new_groups)
        user.groups.set(new_groups)
        if new_groups - old_groups:
            require_relation_rights(actor, User.objects.filter(pk=user.pk))
        detail |= {
            "added": sorted(group.name for group in new_groups - old_groups),
            "removed": sorted(group.name for group in old_groups - new_groups),
        }
    if changed or old_groups != new_groups:
        _save(user, **{name: values[name] for name in changed})
        record_audit(actor, "user.changed", target=user, detail=detail)
    return user


@transaction.atomic
def deactivate_user(actor: Actor, *, user_id: int) -> User:
    """Close an account and its API keys; its open sockets close within 5 seconds. Its data stays.

    A second call changes nothing. Raises `Forbidden`, `NotFound`, and `Conflict` for the actor's own account and for
    that of the last owner.
    """
    require_permission(actor, CHANGE_USER)
    user = _locked(user_id)
    require_rights_over(actor, user)
    if user.pk == actor.user_id:
        raise Conflict("You cannot close your own account: ask another owner.")
    if user.is_active:
        _require_other_owner(user)
        _save(user, is_active=False)
        record_audit(actor, "user.closed", target=user)
        log.info("user.closed", actor=actor.name, user=user.get_username())
    return user


@transaction.atomic
def reactivate_user(actor: Actor, *, user_id: int) -> User:
    """Reopen an account, with the roles and keys that it had. A second call changes nothing.

    Raises `NotFound`, and `Forbidden`, also for a group that may do, or opens, what the actor may not.
    """
    require_permission(actor, CHANGE_USER)
    user = _locked(user_id)
    # Django counts no permissions for inactive users, so those of the groups are compared.
    _require_all(actor, user.groups.all())
    require_relation_rights(actor, User.objects.filter(pk=user.pk))
    if not user.is_active:
        _save(user, is_active=True)
        record_audit(actor, "user.reopened", target=user)
    return user


@transaction.atomic
def password_link(actor: Actor, *, user_id: int) -> str:
    """Create the path at which the user chooses a new password, once, within three days.

    It is a credential: show it once, log it nowhere. Raises `Forbidden`, `NotFound`, `Conflict` for a closed account.
    """
    user = _link_recipient(actor, user_id)
    record_audit(actor, "user.password_link_made", target=user)
    return make_link_path(user, INVITED)


@transaction.atomic
def mail_password_link(actor: Actor, *, user_id: int) -> OutgoingEmail:
    """Queue an e-mail with a password link to the account's address; return its row.

    Raises `Forbidden`, `NotFound`, and `Conflict` if e-mail is off or the account has no address or is closed.
    """
    user = _link_recipient(actor, user_id)
    if not email_enabled():
        raise Conflict("This installation sends no mail: set EMAIL_URL, or hand the link over.")
    if not user.email:
        raise Conflict("This account has no address: write it down first, or hand the link over.")
    (email,) = queue_emails([user], kind=OutgoingEmail.Kind.INVITATION, asked_by=actor.name)
    record_audit(actor, "user.password_link_mailed", target=user, detail={"address": user.email})
    return email


def _link_recipient(actor: Actor, user_id: int) -> User:
    require_permission(actor, CHANGE_USER)
    user = _locked(user_id)
    require_rights_over(actor, user)
    if not user.is_active:
        raise Conflict("This account is closed: open it first.")
    return user


def _locked(user_id: int) -> User:
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such account here.")
    return user


def _save(user: User, **values: Any) -> None:
    for name, value in values.items():
        setattr(user, name, value)
    user.version += 1
    user.save(update_fields=[*values, "version"])


def _values(details: Mapping[str, Any]) -> dict[str, Any]:
    """What `details` says of a user; names of people on one line, for mails and lists."""
    values = {name: details[name] for name in _DETAILS if name in details}
    return values | {name: clean_name(values[name]) for name in ("first_name", "last_name") if name in values}


def _require_all(actor: Actor, groups: Iterable[Group]) -> None:
    allowed = effective_permissions(actor)
    if allowed is None:
        return
    for group in groups:
        pairs = group.permissions.values_list("content_type__app_label", "codename")
        if not {f"{app}.{codename}" for app, codename in pairs} <= allowed:
            raise Forbidden(f"The role {group.name} may do more than you; you cannot give it.")


def _check_regroup(actor: Actor, user: User, old_groups: set[Group], new_groups: set[Group]) -> None:
    if user.pk == actor.user_id:
        raise Forbidden("You cannot change your own roles: ask another owner.")
    _require_all(actor, new_groups - old_groups)
    if Role.OWNER in {group.name for group in old_groups - new_groups}:
        _require_other_owner(user)


def _require_other_owner(user: User) -> None:
    """Raise `Conflict` if `user` is the only active owner. Locks the role, so that concurrent calls are serialised."""
    owners = Group.objects.select_for_update(no_key=True).get(name=Role.OWNER)
    other_owners = User.objects.filter(groups=owners, is_active=True).exclude(pk=user.pk)
    if user.is_active and user.groups.filter(pk=owners.pk).exists() and not other_owners.exists():
        raise Conflict("This is the last owner: give somebody else that role first.")


def find_users(term: str) -> list[int]:
    """The ids of the user named `term`, else of up to `MAX_MATCHES` users whose names begin with it."""
    if "\x00" in term or len(term) > 150:
        return []
    exact = User.objects.filter(username=term).values_list("pk", flat=True)
    return list(exact or User.objects.filter(username__istartswith=term).values_list("pk", flat=True)[:MAX_MATCHES])
