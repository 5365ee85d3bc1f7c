"""Connections outside Django's pool, for threads that LISTEN."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import connection

# Parameters that Django's backend adds for its own cursors and its pool.
_DJANGO_ONLY = frozenset({"pool", "cursor_factory", "context", "server_side_binding", "assume_role", "isolation_level"})

# These connections run a few statements again and again, which find rows by keys. Their plans are made once for each
# connection; one made while the tables were small must not read whole tables when they have grown.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_material": "off",
}


def open_listen_connection() -> psycopg.Connection:
    """A connection of its own to the default database, in autocommit, with prepared statements. Raises
    `psycopg.Error`."""
    params: dict[str, Any] = {k: v for k, v in connection.get_connection_params().items() if k not in _DJANGO_ONLY}
    params["prepare_threshold"] = 2
    # Distinguishes these from the pool's connections in pg_stat_activity.
    params["application_name"] = f"{params.get('application_name', 'bandstand')}-listen"
    params["options"] = " ".join([params.get("options", ""), *(f"-c {name}={value}" for name, value in _PLANS.items())])
    return psycopg.connect(**params, autocommit=True)
