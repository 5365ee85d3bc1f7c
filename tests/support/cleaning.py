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
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        # In any order: Django's foreign keys are judged at the commit.
        cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in _tables()))


@cache
def _tables() -> tuple[str, ...]:
    """Asked for once: to look them up takes as long as to empty them."""
    return tuple(sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT))


Held = list[tuple[int, str, int | None]]


def _groups() -> Held:
    """Every group with each of its permissions."""
    return sorted(Group.objects.values_list("id", "name", "permissions"))


@cache
def _groups_of_migrations() -> Held:
    """Asked for before any test has committed something."""
    return _groups()


def _restore_groups() -> None:
    if _groups() == _groups_of_migrations():
        return
    grants = Group.permissions.through
    names = {pk: name for pk, name, _ in _groups_of_migrations()}
    with transaction.atomic():
        Group.objects.all().delete()
        Group.objects.bulk_create(Group(pk=pk, name=name) for pk, name in names.items())
        grants.objects.bulk_create(
            grants(group_id=pk, permission_id=permission)
            for pk, _, permission in _groups_of_migrations()
            if permission is not None
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
