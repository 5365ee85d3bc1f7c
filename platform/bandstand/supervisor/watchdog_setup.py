"""The watchdog of an installation, as its configuration has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import gethostname
from typing import Final

from bandstand import databases
from bandstand.config import MEBIBYTE, Config
from bandstand.supervisor.child import Child
from bandstand.supervisor.conditions import Condition
from bandstand.supervisor.database import Database
from bandstand.supervisor.messenger import Messenger
from bandstand.supervisor.observers import (
    BeatObserver,
    DatabaseObserver,
    DiskObserver,
    Observer,
    RestartObserver,
    WebObserver,
)
from bandstand.supervisor.state_file import StateFile
from bandstand.supervisor.watchdog import Watchdog
from foundation.scrubbing import Scrubber

STATE_FILE: Final = "watchdog.state"


def make_watchdog(
    config: Config,
    *,
    host: str,
    children: Sequence[Child],
    files: Mapping[str, Path],
    database: Database | None,
) -> Watchdog:
    """The watchdog of the installation whose web processes answer at `host`. `files` are the liveness files of
    `children`, by their names; `database` is the embedded one."""
    webhook, heartbeat_url = config.watchdog_webhook, config.heartbeat_url
    return Watchdog(
        name=f"{gethostname()} ({config.base_url})",
        runbooks_url=f"{config.base_url}/admin/runbooks/",
        observers=_observers(config, host, children, files, database),
        messenger=Messenger(
            webhook=webhook.get_secret_value() if webhook else None,
            heartbeat_url=heartbeat_url.get_secret_value() if heartbeat_url else None,
        ),
        file=StateFile(config.data_dir / "run" / STATE_FILE),
        clean=Scrubber(databases.secrets_in_use(config)).text,
    )


def _observers(
    config: Config,
    host: str,
    children: Sequence[Child],
    files: Mapping[str, Path],
    database: Database | None,
) -> list[Observer]:
    folders = [config.data_dir] if database is None else [config.data_dir, database.cluster.home]
    runners = [files[child.role.name] for child in children if child.role.command == "runagents"]
    observers: list[Observer] = [
        DatabaseObserver(lambda: databases.database_url(config)),
        DiskObserver(
            lambda: folders, full_percent=config.disk_full_percent, free_bytes=config.disk_free_megabytes * MEBIBYTE
        ),
        BeatObserver(Condition.SCHEDULER_FROZEN, [files["scheduler"]]),
        WebObserver(host, config.port),
        RestartObserver({child.role.name: child for child in children}, needs_database=True),
    ]
    if runners:  # else they run elsewhere
        observers.append(BeatObserver(Condition.RUNNER_DOWN, runners))
    if database is not None:
        observers.append(RestartObserver({"PostgreSQL": database}, needs_database=False))
    return observers
