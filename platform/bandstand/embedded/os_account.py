"""The operating-system account that PostgreSQL runs under: the present one, or an unprivileged one for root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bandstand.embedded.errors import EmbeddedError

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The account that runs the server. `switch`: it differs from that of this process."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run_as(self) -> dict[str, Any]:
        """Keyword arguments for :mod:`subprocess` that start a program under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.switch else {}

    def own(self, path: Path) -> None:
        """Make the account the owner of `path`."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account may reach into `folder`; tested by a child process, so that ACLs count."""
        return self._succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])

    def can_run(self, program: Path) -> bool:
        """Whether the account can start `program`."""
        return self._succeeds([str(program), "--version"])

    def _succeeds(self, command: list[str]) -> bool:
        try:
            result = subprocess.run(  # noqa: S603  # our own binaries
                command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False, **self.run_as()
            )
        except OSError:
            return False
        return result.returncode == 0


def server_account() -> Account:
    """The account to run the server under. Raises EmbeddedError if there is none that PostgreSQL accepts."""
    if os.geteuid() != 0:
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            raise EmbeddedError(
                f"user id {os.geteuid()} has no entry in the password database, and PostgreSQL needs one; "
                "add one, or set DATABASE_URL"
            ) from None
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=False)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and this machine has neither a user 'postgres' nor 'nobody'; "
        "run as an ordinary user, or set DATABASE_URL"
    )
