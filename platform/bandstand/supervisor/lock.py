"""One supervisor per data directory."""

import fcntl
import os
from pathlib import Path

from bandstand.supervisor.errors import CannotStart

FILE = "supervisor.lock"


class Lock:
    """A file lock, held from construction until this process exits. Raises CannotStart if another process holds it."""

    def __init__(self, folder: Path, *, data_dir: Path, address: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 200).decode("ascii", errors="replace").strip() or "another process"
            os.close(self._file)
            raise CannotStart(
                f"{data_dir} is in use by {holder}; stop it, or set BANDSTAND_DATA_DIR and PORT"
            ) from None
        os.ftruncate(self._file, 0)
        os.write(self._file, f"process {os.getpid()} at {address}\n".encode("ascii"))
