"""Rows for tests that need more than one transaction."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.cleaning import delete_rows


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """In place of pytest-django's: real commits, for tests with several connections or that commit by themselves.

    The rows are deleted afterwards. That takes milliseconds; truncating every table takes a tenth of a second, and the
    roles with it, which a migration wrote.
    """
    with django_db_blocker.unblock():
        connection.close()
        try:
            yield
        finally:
            connection.close()  # the test may have left it broken
            delete_rows()
            connection.close()
