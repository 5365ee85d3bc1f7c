"""Rows for tests that need more than one transaction."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.cleaning import real_commits


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """In place of pytest-django's, which truncates."""
    with real_commits(django_db_blocker):
        yield
