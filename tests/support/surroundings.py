"""What a process is told that a test starts: its environment, a port, an address of a database."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[2]
# Python reads `sitecustomize.py` there.
WITHOUT_EXTRAS = ROOT / "tests" / "support" / "without_extras"
PYTHON_PATH = os.pathsep.join(map(str, (WITHOUT_EXTRAS, ROOT, ROOT / "platform")))
# The product finds them out by itself.
_OURS = {"BANDSTAND_ROLE", "DJANGO_SETTINGS_MODULE"}


def environment(**told: str) -> dict[str, str]:
    """This process's, for a program of the repository, without what makes it a test; `told` is added."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, "PYTHONPATH": PYTHON_PATH, **told}


def database_url(name: str) -> str:
    """The address of another database of the tests' server."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def share_static_files(data_dir: Path) -> None:
    """Before a first start: the static files of this installation are those of all others. A copy for each would take
    two seconds of CPU."""
    shared = ROOT / ".cache" / "static"
    for folder in (shared, data_dir):
        folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (data_dir / "static").symlink_to(shared)
