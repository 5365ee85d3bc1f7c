"""An empty database again, without its being made anew."""

from django.db import connection, transaction

# What migrations wrote.
KEPT = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "django_migrations"}


def delete_rows() -> None:
    """Delete what a test committed."""
    assert connection.settings_dict["NAME"].startswith("test_"), "rows that nobody made for a test"
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        # In any order: Django's foreign keys are judged at the commit.
        cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in tables))
