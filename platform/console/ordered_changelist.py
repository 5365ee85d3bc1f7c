"""Keyset pagination of lists that are ordered by columns other than the key, such as what waits by its priority."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value
from django.db.models.lookups import GreaterThan, LessThan

from console.keyset_changelist import KeysetChangeList

_SEPARATOR: Final = "~"


class OrderedKeysetChangeList(KeysetChangeList):
    """The rows after a place in the admin's `keyset_order(changelist)`: columns without nulls, the last one unique, all
    ascending or all descending ("-name")."""

    @property
    def _columns(self) -> tuple[tuple[str, ...], bool]:
        admin: Any = self.model_admin
        order: tuple[str, ...] = admin.keyset_order(self)
        return tuple(name.removeprefix("-") for name in order), order[0].startswith("-")

    def ordered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        names, descending = self._columns
        return rows.order_by(*(f"-{name}" if descending else name for name in names))

    def filter_after(self, rows: QuerySet[Any], cursor: str) -> QuerySet[Any]:
        names, descending = self._columns
        texts = cursor.split(_SEPARATOR)
        if len(texts) != len(names):
            raise ValidationError("This is no place in the list.")
        values = [self._value(name, text) for name, text in zip(names, texts, strict=True)]
        # As one comparison of rows, which the index of the order serves.
        lookup = LessThan if descending else GreaterThan
        return rows.filter(Q(lookup(_row(*map(F, names)), _row(*values))))

    def make_cursor(self, last: Any) -> str:
        row = next((row for row in reversed(self.result_list) if row.pk == last), None)
        row = row or self.root_queryset.filter(pk=last).first()
        names, _ = self._columns
        return _SEPARATOR.join(_format(getattr(row, name)) for name in names) if row else ""

    def _value(self, name: str, text: str) -> Value:
        field: Any = self.model._meta.get_field(name)
        value = field.to_python(text)
        # Numbers that the column cannot hold, and times without a zone.
        field.run_validators(value)
        if value is None or (isinstance(value, datetime) and value.tzinfo is None):
            raise ValidationError("This is no place in the list.")
        return Value(value, field)


def _row(*columns: Any) -> Func:
    return Func(*columns, function="ROW", output_field=BooleanField())


def _format(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
