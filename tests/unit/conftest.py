"""Tests without a database."""

import pytest

from foundation.db_threads import close_db_threads


@pytest.fixture(scope="module", autouse=True)
def _no_connections() -> None:
    """Threads keep the connections of earlier tests, and code that finds one uses it, which pytest-django forbids here:
    begin with none, in whatever order files run."""
    close_db_threads()
