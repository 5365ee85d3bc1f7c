"""`manage.py alive runner|scheduler`: liveness probes that ask no database, so that a dead one restarts nobody."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from bandstand import config as configuration
from bandstand.config import Config

# The guard of the scheduler may wait for a database that does not answer, as long as its connections do.
SCHEDULER_SILENT_SECONDS: Final = 30.0

# The file of each process, and how old it may be, in seconds.
_FILES: Final[Mapping[str, Callable[[Config], tuple[Path, float]]]] = {
    "runner": lambda config: (config.runner_liveness_file, config.lease_seconds),
    "scheduler": lambda config: (config.scheduler_liveness_file, SCHEDULER_SILENT_SECONDS),
}


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the runner or scheduler of this data directory works, 1 if its file is too old or not there, 2 for
    other arguments."""
    name = arguments[0] if len(arguments) == 1 else ""
    if name not in _FILES:
        print("bandstand: say whose life you ask about: manage.py alive runner|scheduler", file=sys.stderr)
        return 2
    file, silent_seconds = _FILES[name](configuration.load_or_exit())
    try:
        age = time.time() - file.stat().st_mtime
    except OSError:
        print(f"bandstand: the {name} has not begun to work", file=sys.stderr)
        return 1
    if age > silent_seconds:
        print(f"bandstand: the {name} has been silent for {age:.0f} s", file=sys.stderr)
        return 1
    return 0
