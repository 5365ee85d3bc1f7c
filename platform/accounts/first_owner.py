"""Create the first owner account of an installation."""

from __future__ import annotations

import secrets
from pathlib import Path

import structlog
from django.contrib.auth.models import Group
from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.models import User
from accounts.roles import Role
from foundation.advisory_locks import AdvisoryLock, advisory_xact_lock
from foundation.errors import Conflict, NotFound
from foundation.private_files import OWNER_LOGIN_FILE, write_private

NAME = "owner"

log = structlog.get_logger(__name__)


def ensure_owner(data_dir: Path) -> Path | None:
    """Create an owner account unless a user has that role; return the file with its login (mode 0600), or None.

    If a run dies before its commit, the next one creates the account and rewrites the file. Raises `Conflict` where
    nobody has the role but the account's name is taken: the role is given to nobody unasked.
    """
    if _owner_exists():
        return None
    with transaction.atomic():
        advisory_xact_lock(AdvisoryLock.CREATE_FIRST_OWNER)  # two concurrent first starts create one account
        if _owner_exists():
            return None
        if User.objects.filter(username=NAME).exists():
            raise Conflict(
                f"Nobody holds the role {Role.OWNER}, and there is an account {NAME!r} already. "
                f"Give somebody the role: manage.py bootstrap --owner {NAME}"
            )
        password = secrets.token_urlsafe(15)
        user = User.objects.create_user(NAME, password=password)
        user.groups.add(Group.objects.get(name=Role.OWNER))
        # Before the commit: an account whose password is nowhere would be worse than a file without an account.
        path = data_dir / OWNER_LOGIN_FILE
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, f"name: {NAME}\npassword: {password}\n")
    log.info("owner.created", name=NAME)
    return path


@transaction.atomic
def make_owner(name: str) -> User:
    """Give an existing account the role owner, as the system; return it. Raises `NotFound`."""
    user = User.objects.filter(username=name).first()
    if user is None:
        raise NotFound(f"There is no account {name!r}.")
    user.groups.add(Group.objects.get(name=Role.OWNER))
    record_audit(Actor.system("bootstrap"), "user.changed", target=user, detail={"added": [str(Role.OWNER)]})
    return user


def _owner_exists() -> bool:
    return User.objects.filter(groups__name=Role.OWNER).exists()
