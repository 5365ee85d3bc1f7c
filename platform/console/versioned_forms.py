"""Forms with optimistic locking, which merge concurrent changes field by field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.db.models import Model, QuerySet

from foundation.line_diff import Line, compare_lines
from foundation.text_lines import split_lines

# The two hidden fields: the version that was read, and a digest of each field's value in it.
VERSION: Final = "version"
BASE: Final = "base"


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that both have changed: the diff from the stored to the submitted lines."""

    label: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class EditConflict:
    """Somebody else saved since the form was opened. `adopted` are the labels of fields that only they changed."""

    by: str
    at: datetime | None
    conflicts: tuple[FieldConflict, ...]
    adopted: tuple[str, ...]


if TYPE_CHECKING:
    _Form = forms.BaseForm
else:
    _Form = object


class VersionedFormMixin(_Form):
    """For a form over one row with a `version`, which `stored_row` locks and returns.

    A form that was opened on an older version is invalid: `conflict` then says who saved and what differs, and the form
    is bound to the submitted values, except for fields that only the other user changed, which get the stored ones.
    Submitting it again overwrites the stored values. The lock is held until the end of the admin's transaction.
    """

    conflict: EditConflict | None = None

    def stored_row(self) -> Any:
        """The row, locked until the end of the transaction, or None for a new one."""
        raise NotImplementedError

    def form_values(self, row: Any) -> dict[str, Any]:
        """The initial values of the form's fields for `row`."""
        raise NotImplementedError

    def last_change(self, row: Any) -> tuple[str, datetime | None]:
        """The name of the user who changed `row` last, and when; ("somebody", None) if unknown."""
        raise NotImplementedError

    def remember(self, row: Any) -> None:
        """Add hidden fields with the version of `row` and digests of its values. Call it in `__init__`."""
        self.fields[VERSION] = forms.IntegerField(widget=forms.HiddenInput, required=False)
        self.fields[BASE] = forms.CharField(widget=forms.HiddenInput, required=False)
        if row is not None:
            self.initial = {**self.initial, VERSION: row.version, BASE: _digests(self.form_values(row))}

    def refuse_stale(self) -> None:
        """Set `conflict` and add an error if the row was saved since. Call it last in `clean`."""
        row = self.stored_row()
        if row is None or self.cleaned_data.get(VERSION) == row.version:
            return
        self.conflict = self._conflict(row)
        self.add_error(None, "Nothing is saved yet: somebody else changed this since you opened it.")

    def _conflict(self, row: Any) -> EditConflict:
        stored, base = self.form_values(row), _read_digests(self.cleaned_data.get(BASE))
        digests = json.loads(_digests(stored))
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        conflicts, adopted = [], []
        for name, value in stored.items():
            # A field with an error has no cleaned value; the raw input is used.
            submitted = self.cleaned_data.get(name, self[name].value())
            label = str(self[name].label)
            if _plain(submitted) == _plain(value):
                continue
            if base.get(name) == _digest(submitted) and name not in self.errors:
                _set_data(data, self[name], value)
                adopted.append(label)
            elif base.get(name) != digests[name]:
                conflicts.append(FieldConflict(label, tuple(compare_lines(_lines(value), _lines(submitted)))))
        data[self.add_prefix(VERSION)] = row.version
        data[self.add_prefix(BASE)] = _digests(stored)
        self.data = data
        by, at = self.last_change(row)
        return EditConflict(by, at, tuple(conflicts), tuple(adopted))


def _digests(values: dict[str, Any]) -> str:
    return json.dumps({name: _digest(value) for name, value in values.items()})


def _read_digests(text: Any) -> dict[str, Any]:
    try:
        digests = json.loads(text or "{}")
    except ValueError:
        return {}
    return digests if isinstance(digests, dict) else {}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_plain(value)).encode(errors="replace")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """A field's value in canonical form: browsers change line ends, and choices are rows or keys."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").strip()
    if isinstance(value, Model):
        return str(value.pk)
    if isinstance(value, QuerySet):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return "" if value is None else str(value)


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return split_lines(value)
    if isinstance(value, Iterable):
        return sorted(str(item) for item in value) if isinstance(value, QuerySet) else [str(item) for item in value]
    return [] if value is None else [str(value)]


def _set_data(data: Any, field: forms.BoundField, value: Any) -> None:
    """Write `value` into submitted data as a browser would send it."""
    prepared = field.field.prepare_value(value)
    if isinstance(prepared, list | tuple | QuerySet):
        data.setlist(field.html_name, [str(_plain(item)) for item in prepared])
    elif isinstance(field.field, forms.BooleanField) and not prepared:
        data.pop(field.html_name, None)
    else:
        data[field.html_name] = "" if prepared is None else str(prepared)
