"""The data directory, in which an installation keeps everything that is not in the database.

```
bandstand.id     marks the folder as Bandstand's; the random id of the installation
keys/            generated secrets (0700)
postgres/        the embedded cluster, unless its account cannot reach this folder
postgres.json    how to reach the embedded database (0600)
logs/  run/      what the processes say, and which of them run
models/          what is made of the weights of the embedding model; made anew when it is gone
static/          style sheets, scripts and fonts as they are served; made anew when it is gone
```
"""

import os
import secrets
from pathlib import Path

from foundation.private_files import write_once

MARKER = "bandstand.id"
STATIC_FOLDER = "static"
# Processes that were started by themselves have made these before anybody claims the folder.
IGNORED = {"models", "run", "lost+found"}
IGNORED_PREFIXES = (MARKER, STATIC_FOLDER)


class DataDirError(Exception):
    """The data directory cannot be used; the message is one printable line."""


def claim(path: Path) -> str:
    """Make `path` a data directory if it is none yet; return the id of the installation.

    Raises DataDirError if the folder holds files of something else, or cannot be used.
    """
    marker = path / MARKER
    try:
        _make(path)
        if marker.exists():
            return marker.read_text(encoding="ascii").strip()
        names = {entry.name for entry in path.iterdir()} - IGNORED
        if any(not name.startswith(IGNORED_PREFIXES) for name in names):
            raise DataDirError(
                f"{path} is not empty and was not made by Bandstand (no {MARKER} in it); "
                "set BANDSTAND_DATA_DIR to a new or empty folder"
            )
        write_once(marker, f"{secrets.token_hex(8)}\n")
    except OSError as error:
        raise DataDirError(f"{path} cannot be the data directory: {error.strerror}") from None
    return marker.read_text(encoding="ascii").strip()


def _make(path: Path) -> None:
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700)
    if os.geteuid() == 0:
        # Under root the server runs as another user, which must be able to enter the folder, but not to list it.
        path.chmod(0o711)
