"""How each role reaches PostgreSQL: Django's DATABASES from a DATABASE_URL."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

from bandstand.config import Config, Role
from bandstand.embedded.record import DATABASE, ROLE, Record

ENGINE: Final = "bandstand.postgresql"
LOCK_TIMEOUT_SECONDS: Final = 2
POOL_TIMEOUT_SECONDS: Final = 5.0
# A server that vanishes without a word (its machine is gone, a firewall forgot us) is given up within a lease. Left to
# the system's own patience, every thread that waits for an answer would hang for two hours.
NOTICE_SILENCE: Final[dict[str, int]] = {
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 14_000,
}
PREPARE_THRESHOLD: Final = 5  # executions until a statement is prepared; None would switch it off


@dataclass(frozen=True, slots=True)
class Floor:
    """The longest that one role may hold the database, in seconds; 0 is no limit."""

    statement_seconds: int
    idle_in_transaction_seconds: int
    transaction_seconds: int


FLOORS: Final[dict[Role, Floor]] = {
    "web": Floor(10, 5, 15),
    "runner": Floor(10, 5, 15),
    "scheduler": Floor(600, 5, 900),
    "command": Floor(0, 60, 0),  # migrations and dumps take what they take
}


def database_url(config: Config) -> str:
    """Where the rows are. Before the first `make run` this is where the embedded database will be."""
    if config.database_url is not None:
        return config.database_url.get_secret_value()
    if record := Record.read(config.data_dir):
        return record.url
    socket: Path = config.data_dir / "postgres" / "socket"
    return f"postgresql://{ROLE}@/{DATABASE}?{urlencode({'host': socket})}"


def secrets_in_use(config: Config) -> tuple[str, ...]:
    """Every secret value of this process, with the database's and the mail server's passwords alone as well."""
    passwords = (
        conninfo_to_dict(database_url(config)).get("password"),
        config.mail_server and config.mail_server.password,
    )
    return (*config.secrets(), *(str(password) for password in passwords if password))


def settings(config: Config) -> dict[str, dict[str, Any]]:
    """Django's DATABASES for the role of this process.

    web and runner share connections among their threads (a pool; CONN_MAX_AGE must then be 0); the scheduler's few
    processes keep one each; a command opens one. LISTEN uses none of these.
    """
    parts = {name: value for name, value in conninfo_to_dict(database_url(config)).items() if value is not None}
    floor = FLOORS[config.role]
    pooled = config.role in {"web", "runner"}
    options: dict[str, Any] = {
        "application_name": f"bandstand-{config.role}",
        "options": _startup(floor),
        "transaction_timeout_seconds": floor.transaction_seconds,
        "prepare_threshold": PREPARE_THRESHOLD,
        "server_side_binding": True,
        "connect_timeout": 5,
        **NOTICE_SILENCE,
    }
    if pooled:
        options["pool"] = {
            "min_size": 1,
            "max_size": config.database_pool_size,
            "timeout": POOL_TIMEOUT_SECONDS,
            # Its default (300) doubles the pauses between attempts all the while: after an outage of a minute the
            # pool would sleep through another one. An attempt that was given up begins anew with the next request.
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


def _startup(floor: Floor) -> str:
    seconds = {
        "statement_timeout": floor.statement_seconds,
        "lock_timeout": LOCK_TIMEOUT_SECONDS,
        "idle_in_transaction_session_timeout": floor.idle_in_transaction_seconds,
    }
    return " ".join(f"-c {name}={value}s" for name, value in seconds.items())
