"""Rows for tests that need more than one transaction."""

from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

# What migrations wrote.
KEPT = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "django_migrations"}


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
            _delete_rows()
            connection.close()


def _delete_rows() -> None:
    assert connection.settings_dict["NAME"].startswith("test_"), "rows that nobody made for a test"
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        # In any order: Django's foreign keys are judged at the commit.
        cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in tables))
