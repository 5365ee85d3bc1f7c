"""An empty database again, without its being made anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.contrib.auth.models import Group
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

# What migrations and `sync_roles` wrote.
KEPT = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "django_migrations"}


def delete_rows() -> None:
    """Delete what a test committed."""
    assert connection.settings_dict["NAME"].startswith("test_"), "rows that nobody made for a test"
    with transaction.atomic(), connection.cursor() as cursor:
        # Planned once for each connection; a DELETE for each of the ninety tables would be planned every time.
        tables = [table for (table,) in cursor.connection.execute(_tables_with_rows(), prepare=True)]
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        # In any order: Django's foreign keys are judged at the commit.
        cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in tables))


@cache
def _tables_with_rows() -> str:
    """A statement that returns the name of each table that has a row. Made once: to look the tables up takes as long
    as to empty them."""
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT)
    return " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in tables)


Held = list[tuple[int, str, int | None]]

# Which groups there are and what they permit, as a text: to read them all takes ten times as long.
_DIGEST_OF_GROUPS = """
SELECT (SELECT string_agg(id || ' ' || name, ',' ORDER BY id) FROM auth_group),
       (SELECT md5(string_agg(group_id || ' ' || permission_id, ',' ORDER BY group_id, permission_id))
        FROM auth_group_permissions)
"""


def _digest_of_groups() -> tuple[str | None, ...]:
    with connection.cursor() as cursor:
        cursor.execute(_DIGEST_OF_GROUPS)
        names, permissions = cursor.fetchone()
    return names, permissions


@cache
def _groups_of_migrations() -> tuple[Held, tuple[str | None, ...]]:
    """Every group with each of its permissions, and their digest. Asked for before any test has committed something."""
    return sorted(Group.objects.values_list("id", "name", "permissions")), _digest_of_groups()


def _restore_groups() -> None:
    groups, digest = _groups_of_migrations()
    if _digest_of_groups() == digest:
        return
    grants = Group.permissions.through
    names = {pk: name for pk, name, _ in groups}
    with transaction.atomic():
        Group.objects.all().delete()
        Group.objects.bulk_create(Group(pk=pk, name=name) for pk, name in names.items())
        grants.objects.bulk_create(
            grants(group_id=pk, permission_id=permission) for pk, _, permission in groups if permission is not None
        )


@contextmanager
def real_commits(blocker: DjangoDbBlocker) -> Iterator[None]:
    """For tests with several connections or processes: what they commit is deleted afterwards.

    That takes milliseconds. Truncating every table takes a tenth of a second, and the roles with it, which a migration
    wrote.
    """
    with blocker.unblock():
        connection.close()
        _groups_of_migrations()
        try:
            yield
        finally:
            connection.close()  # the test may have left it broken
            delete_rows()
            _restore_groups()
            connection.close()
