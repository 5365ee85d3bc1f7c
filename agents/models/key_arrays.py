"""Many keys as one parameter of a query."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, F, Func, UUIDField, Value


def key_in(keys: Iterable[UUID]) -> Func:
    """The condition that the primary key is one of `keys`, which are passed as one array."""
    array = Value(list(keys), output_field=ArrayField(UUIDField()))
    return Func(F("pk"), array, template="%(expressions)s)", arg_joiner=" = ANY(", output_field=BooleanField())
