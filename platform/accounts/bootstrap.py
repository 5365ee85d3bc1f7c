"""The account that the first person on an installation logs in with."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import structlog
from django.contrib.auth.models import Group
from django.db import connection, transaction

from accounts.models import User
from accounts.roles import Role

NAME = "owner"
LOGIN_FILE = "login.txt"
# Any number that nobody else locks: two first starts at once make one account.
_LOCK = 0x62616E6473740001

log = structlog.get_logger(__name__)


def ensure_owner(data_dir: Path) -> Path | None:
    """Make the first owner unless somebody has that role; the login is then in the file returned (0600).

    A first run that died before its commit is made good by the next one, which writes the file anew.
    """
    if _owner_exists():
        return None
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        if _owner_exists():
            return None
        password = secrets.token_urlsafe(15)
        user = User.objects.create_user(NAME, password=password)
        user.groups.add(Group.objects.get(name=Role.OWNER))
        # Before the commit: an account whose password is nowhere would be worse than a file without an account.
        path = data_dir / LOGIN_FILE
        _write_private(path, f"name: {NAME}\npassword: {password}\n")
    log.info("owner.created", name=NAME)
    return path


def _owner_exists() -> bool:
    return User.objects.filter(groups__name=Role.OWNER).exists()


def _write_private(path: Path, content: str) -> None:
    """Replace the file as a whole, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
