"""The database backend: Django's own, plus a transaction timeout where the server supports it, and a pool that detects
a restarted server without a round trip.
"""

import select
from time import monotonic
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, OperationalError
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg_pool import ConnectionPool

TRANSACTION_TIMEOUT_SINCE = 170000
# The severities of errors with which the server closes a connection.
_FATAL_SEVERITIES = frozenset({"FATAL", "PANIC"})


def terminated_by_server(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has terminated an idle connection; it sends nothing else on one.

    A round trip per checkout would cost more than most statements; this polls the socket only.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    try:
        ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return True
    return False


class Pool(ConnectionPool[psycopg.Connection[Any]]):
    """Returns working connections; a dead one is dropped and the next one tried at once.

    The library's own `check` pauses for a second after the first dead connection and for longer after each of the next:
    after a restart of the server, when all are dead, that was the whole patience of the first requests. (The pauses
    came with psycopg/psycopg#711, against a loop that never rested.)
    """

    def getconn(self, timeout: float | None = None) -> psycopg.Connection[Any]:
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = super().getconn(deadline - monotonic())
            if not terminated_by_server(connection):
                return connection
            connection.close()
            self.putconn(connection)


class Errors(DatabaseErrorWrapper):
    """Django's error wrapper, but a lost connection is always an `OperationalError`.

    By its SQLSTATE, a transaction timeout would be an `InternalError`, and an error without SQLSTATE none of the
    classes that are retried.
    """

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_type is not None and issubclass(exc_type, psycopg.DatabaseError) and _is_connection_lost(exc_value):
            self.wrapper.errors_occurred = True  # type: ignore[attr-defined]  # not in the stubs
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


def _is_connection_lost(error: psycopg.Error) -> bool:
    return type(error) is psycopg.DatabaseError or error.diag.severity_nonlocalized in _FATAL_SEVERITIES


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend with the additional option `transaction_timeout_seconds`."""

    _connection_pools: dict[str, ConnectionPool[Any]] = {}

    @cached_property
    def wrap_database_errors(self) -> Errors:
        """Overrides Django's converter of psycopg errors."""
        return Errors(self)

    @property
    def pool(self) -> ConnectionPool[Any] | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias != DEFAULT_DB_ALIAS or not options:  # NO_DB_ALIAS, for maintenance, has none
            return None
        if self.alias not in self._connection_pools:
            pool = Pool(
                kwargs={**self.get_connection_params(), "autocommit": True},  # Django sets it properly later on
                open=False,
                configure=self._configure,
                name="bandstand",
                **options,
            )
            # Two threads may get here concurrently; neither pool is open yet, and the first one is used.
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
