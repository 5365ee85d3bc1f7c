"""The one folder in which an installation keeps everything that is not a row.

```
bandstand.id     marks the folder as ours; a random word that tells one installation from another
keys/            made secrets (0700)
postgres/        the embedded cluster, unless its account cannot reach this folder
postgres.json    how to reach the embedded database (0600)
logs/  run/      what the processes say, and which of them run
static/          style sheets, scripts and fonts as they are served; made anew when it is gone
```
"""

import os
import secrets
from pathlib import Path

from foundation.private_files import write_once

MARKER = "bandstand.id"
STATIC_FOLDER = "static"
# A web process that was started by itself has made the static files before anybody claims the folder.
IGNORED = (MARKER, STATIC_FOLDER, "lost+found")


class DataDirError(Exception):
    """The data directory cannot be used; the message is one printable line."""


def claim(path: Path) -> str:
    """Make `path` our data directory, or see that it is; answer its id.

    Raises DataDirError when the folder holds something that we did not make.
    """
    marker = path / MARKER
    try:
        _make(path)
        if marker.exists():
            return marker.read_text(encoding="ascii").strip()
        if any(not entry.name.startswith(IGNORED) for entry in path.iterdir()):
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
        # Started by root the server runs under another account, which must pass through (not look around).
        path.chmod(0o711)
