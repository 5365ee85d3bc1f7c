"""Prices that owners have entered, in the memory of a process that prices calls; an edit holds within a second."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import psycopg
import structlog
from django.db import connection as django_connection

from agents.budgets.channels import PRICES_CHANNEL
from agents.llm.model_catalog import Rates
from foundation.pg_listener import Wake

log = structlog.get_logger(__name__)

# In case that a notification was lost.
_READ_POLLS: Final = 30
_READ: Final = """
SELECT route, valid_from, input, cached_input, cache_write, output, per_request
FROM agents_modelprice ORDER BY route, valid_from DESC
"""


class StoredPrices:
    """The entered prices. Whoever owns the listening connection calls `hear` after each of its wake-ups, from its
    thread; who has none calls `load`."""

    channel = PRICES_CHANNEL

    def __init__(self) -> None:
        # Of each route the newest first.
        self._by_route: dict[str, tuple[tuple[datetime, Rates], ...]] = {}
        self._connection: psycopg.Connection | None = None
        self._polls = 0

    def find(self, route: str, at: datetime) -> Rates | None:
        """The price that holds at a time for exactly this route or pattern; None if nobody has entered one."""
        return next((rates for valid_from, rates in self._by_route.get(route, ()) if valid_from <= at), None)

    def load(self) -> None:
        """Read them by this thread's connection."""
        with django_connection.cursor() as cursor:
            cursor.execute(_READ)
            self._take(cursor.fetchall())

    def hear(self, connection: psycopg.Connection, wake: Wake) -> None:
        """Read the prices again if they may have changed."""
        self._polls += wake.polled
        is_due = wake.polled and self._polls % _READ_POLLS == 0
        has_changed = any(channel == PRICES_CHANNEL for channel, _ in wake.payloads)
        if connection is self._connection and not is_due and not has_changed:
            return
        try:
            rows = connection.execute(_READ.encode()).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            # Turns are run all the same; what was known stays.
            log.exception("prices.not_loaded")
            return
        self._take(rows)
        self._connection = connection

    def _take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        by_route: dict[str, list[tuple[datetime, Rates]]] = {}
        for route, valid_from, *prices in rows:
            by_route.setdefault(route, []).append((valid_from, _rates(*prices)))
        self._by_route = {route: tuple(rates) for route, rates in by_route.items()}


def _rates(
    plain: Decimal, cached: Decimal | None, cache_write: Decimal | None, output: Decimal, request: Decimal
) -> Rates:
    return Rates(
        input=plain,
        cached=plain if cached is None else cached,
        cache_write=plain if cache_write is None else cache_write,
        output=output,
        request=request,
    )
