"""The folder of a cluster's files: below the data directory, or elsewhere if its account cannot enter that."""

import hashlib
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

from bandstand.embedded import postgres_processes
from bandstand.embedded.errors import EmbeddedError
from bandstand.embedded.os_account import Account

FALLBACK_DIR: Final = Path("/var/lib/bandstand")
OWNER_FILE: Final = "bandstand.id"
MAX_SOCKET_DIR_LENGTH: Final = 107 - len("/.s.PGSQL.5432.lock")  # sun_path of Linux; macOS has 103 and short paths


def choose_folder(data_dir: Path, account: Account) -> Path:
    """The folder for a new cluster."""
    if account.can_enter(data_dir):
        return data_dir / "postgres"
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return FALLBACK_DIR / digest


def make(home: Path, *, installation: str) -> None:
    """Create `home` for the cluster of this installation; the data of another one in it is moved away.

    Raises EmbeddedError if that one is running.
    """
    for folder in (FALLBACK_DIR, home) if home.is_relative_to(FALLBACK_DIR) else (home,):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)  # whatever the umask: the account must pass through
    owner = home / OWNER_FILE
    if owner.exists() and owner.read_text(encoding="ascii").strip() != installation:
        _move_away(home / "data")
    owner.write_text(f"{installation}\n", encoding="ascii")


def make_socket_dir(home: Path, recorded: str, account: Account) -> Path:
    """A folder for the server's socket that only the account can enter, with a path short enough for the kernel."""
    folder = home / "socket"
    if len(str(folder).encode()) <= MAX_SOCKET_DIR_LENGTH:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        account.own(folder)
        return folder
    if recorded and _is_private(Path(recorded), account):
        return Path(recorded)
    folder = Path(tempfile.mkdtemp(prefix="bandstand-", dir="/tmp"))  # short, and 0700 from the start
    account.own(folder)
    return folder


def _is_private(folder: Path, account: Account) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == account.uid and stat.S_IMODE(status.st_mode) == 0o700


def _move_away(data: Path) -> None:
    if not data.exists():
        return
    if postgres_processes.server_pid(data) is not None:
        raise EmbeddedError(f"the database in {data} belongs to another data directory and is running; stop it first")
    shutil.move(data, data.with_name(f"data.abandoned-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"))
