"""`manage.py alive runner`: a liveness probe that asks no database, so that a dead database restarts nobody."""

import sys
import time
from collections.abc import Sequence

from bandstand import config as configuration


def main(arguments: Sequence[str]) -> int:
    """Return 0 if the runner of this data directory works, 1 if its file is older than a lease or not there, 2 for
    other arguments."""
    if list(arguments) != ["runner"]:
        print("bandstand: say whose life you ask about: manage.py alive runner", file=sys.stderr)
        return 2
    config = configuration.load_or_exit()
    try:
        age = time.time() - config.runner_liveness_file.stat().st_mtime
    except OSError:
        print("bandstand: the runner has not begun to work", file=sys.stderr)
        return 1
    if age > config.lease_seconds:
        print(f"bandstand: the runner has been silent for {age:.0f} s", file=sys.stderr)
        return 1
    return 0
