"""The database backend: Django's own, plus a transaction timeout where the server has one, and a pool that notices
a restarted server without asking it.
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
# What the server says before it closes a connection.
_LAST_WORDS = frozenset({"FATAL", "PANIC"})


def terminated_by_server(connection: psycopg.Connection[Any]) -> bool:
    """Whether the server has ended an idle connection. It says nothing else to one, so nobody need ask it.

    A round trip per checkout would cost more than most of our statements; this looks at the socket only.
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
    """Hands out living connections; a dead one is dropped and the next one taken at once.

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
    """Django's, but a connection that is gone is an `OperationalError`, whatever the server's reason to end it.

    By the number of its code, the end of a transaction that took too long would be an `InternalError`, and one that
    came without a code none of the kinds that mean "try again".
    """

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_type is not None and issubclass(exc_type, psycopg.DatabaseError) and _lost(exc_value):
            self.wrapper.errors_occurred = True  # type: ignore[attr-defined]  # not in the stubs
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


def _lost(error: psycopg.Error) -> bool:
    return type(error) is psycopg.DatabaseError or error.diag.severity_nonlocalized in _LAST_WORDS


class DatabaseWrapper(base.DatabaseWrapper):
    """OPTIONS may hold `transaction_timeout_seconds` besides what Django's backend takes."""

    _connection_pools: dict[str, ConnectionPool[Any]] = {}

    @cached_property
    def wrap_database_errors(self) -> Errors:
        """Django's name for what turns psycopg's errors into Django's."""
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
