"""The database backend: Django's own, plus a transaction timeout where the server has one, and a pool that notices
a restarted server without asking it.
"""

import select
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool

TRANSACTION_TIMEOUT_SINCE = 170000


def discard_if_closed(connection: psycopg.Connection[Any]) -> None:
    """Pool check: raise when the server has said something to an idle connection, which can only be a farewell.

    A round trip per checkout would cost more than most of our statements; this looks at the socket only.
    """
    if connection.closed:
        raise psycopg.OperationalError("the connection is closed")
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


class DatabaseWrapper(base.DatabaseWrapper):
    """OPTIONS may hold `transaction_timeout_seconds` besides what Django's backend takes."""

    _connection_pools: dict[str, ConnectionPool[Any]] = {}

    @property
    def pool(self) -> ConnectionPool[Any] | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias != DEFAULT_DB_ALIAS or not options:  # NO_DB_ALIAS, for maintenance, has none
            return None
        if self.alias not in self._connection_pools:
            pool = ConnectionPool(
                kwargs={**self.get_connection_params(), "autocommit": True},  # Django sets it properly later on
                open=False,
                configure=self._configure,
                check=discard_if_closed,
                name="bandstand",
                **options,
            )
            # Two threads may come here at once; neither pool is open yet, and the first one stays.
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools[self.alias]

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        parameters.pop("transaction_timeout_seconds", None)
        return parameters

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        self._configure_connection(connection)

    def _configure_connection(self, connection: psycopg.Connection[Any]) -> bool:
        # Not a startup option like its sisters: servers before 17 refuse a connection that names it.
        commit: bool = super()._configure_connection(connection)  # type: ignore[misc]  # not in the stubs
        seconds = self.settings_dict["OPTIONS"].get("transaction_timeout_seconds")
        if seconds and connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            connection.execute(f"SET transaction_timeout = '{int(seconds)}s'")
            return True
        return commit
