"""Django's DATABASES for each role, from DATABASE_URL."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

from bandstand.config import Config, ProcessRole
from bandstand.embedded.record import DATABASE, ROLE, Record

ENGINE: Final = "bandstand.postgresql"
LOCK_TIMEOUT_SECONDS: Final = 2
POOL_TIMEOUT_SECONDS: Final = 5.0
# A server that vanishes silently (host down, firewall state lost) is detected within a lease. With the defaults of the
# operating system, threads that wait for a reply would hang for two hours.
KEEPALIVE_OPTIONS: Final[dict[str, int]] = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 14_000,
}
# For searches of memories. Compiling a statement takes longer than the longest of them. An index of vectors is asked
# for more than the ten that it returns by default, and goes on where filters leave too few.
_SEARCH_SETTINGS: Final = {"jit": "off", "hnsw.ef_search": "200", "hnsw.iterative_scan": "relaxed_order"}
PREPARE_THRESHOLD: Final = 5  # executions until a statement is prepared; None would switch it off


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of one role, in seconds; 0 is no limit."""

    statement_seconds: int
    idle_in_transaction_seconds: int
    transaction_seconds: int


TIMEOUTS: Final[dict[ProcessRole, Timeouts]] = {
    "web": Timeouts(10, 5, 15),
    "runner": Timeouts(10, 5, 15),
    "scheduler": Timeouts(600, 5, 900),
    "command": Timeouts(0, 60, 0),  # migrations and dumps take what they take
}


def database_url(config: Config) -> str:
    """The URL of the database. Before the first `make run`, the one that the embedded database will have."""
    if config.database_url is not None:
        return config.database_url.get_secret_value()
    if record := Record.read(config.data_dir):
        return record.url
    socket: Path = config.data_dir / "postgres" / "socket"
    return f"postgresql://{ROLE}@/{DATABASE}?{urlencode({'host': socket})}"


def secrets_in_use(config: Config) -> tuple[str, ...]:
    """All secret values of this process, including the passwords within the URLs of the database and mail server."""
    passwords = (
        conninfo_to_dict(database_url(config)).get("password"),
        config.mail_server and config.mail_server.password,
    )
    return (*config.secrets(), *(str(password) for password in passwords if password))


def settings(config: Config) -> dict[str, dict[str, Any]]:
    """Django's DATABASES for the role of this process.

    Web and runner use a pool, which needs CONN_MAX_AGE 0; the scheduler's few processes keep one connection each; a
    command opens one. Connections for LISTEN are opened separately.
    """
    parts = {name: value for name, value in conninfo_to_dict(database_url(config)).items() if value is not None}
    timeouts = TIMEOUTS[config.role]
    pooled = config.role in {"web", "runner"}
    options: dict[str, Any] = {
        "application_name": f"bandstand-{config.role}",
        "options": _startup(timeouts),
        "transaction_timeout_seconds": timeouts.transaction_seconds,
        "prepare_threshold": PREPARE_THRESHOLD,
        "server_side_binding": True,
        "connect_timeout": 5,
        **KEEPALIVE_OPTIONS,
    }
    if pooled:
        options["pool"] = {
            "min_size": 1,
            "max_size": config.database_pool_size,
            "timeout": POOL_TIMEOUT_SECONDS,
            # The default (300 s) keeps doubling the pauses between attempts, so that after an outage of a minute the
            # pool would sleep for another one. After giving up, the next request starts a new attempt.
            "reconnect_timeout": POOL_TIMEOUT_SECONDS,
        }
    database = {
        "ENGINE": ENGINE,
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "CONN_MAX_AGE": None if config.role == "scheduler" else 0,
        "CONN_HEALTH_CHECKS": config.role == "scheduler",
        "OPTIONS": {**options, **parts},
    }
    return {"default": database}


def _startup(timeouts: Timeouts) -> str:
    seconds = {
        "statement_timeout": timeouts.statement_seconds,
        "lock_timeout": LOCK_TIMEOUT_SECONDS,
        "idle_in_transaction_session_timeout": timeouts.idle_in_transaction_seconds,
    }
    settings = {name: f"{value}s" for name, value in seconds.items()} | _SEARCH_SETTINGS
    return " ".join(f"-c {name}={value}" for name, value in settings.items())
