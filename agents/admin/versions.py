"""Forms that notice when somebody else saved first."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Model


class VersionedForm(forms.ModelForm):  # type: ignore[type-arg]
    """Carries the version that was read, and refuses to save over a later one.

    The row stays locked from the check to the end of the request: the admin saves in the same transaction.
    """

    version = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        row: Any = self.instance
        if not row.pk or row._state.adding:
            cleaned["version"] = 1
            return cleaned
        model: type[Model] = type(row)
        stored = model._default_manager.select_for_update().values_list("version", flat=True).get(pk=row.pk)
        if cleaned.get("version") != stored:
            raise forms.ValidationError("Somebody changed this since you opened it. Reload the page and try again.")
        cleaned["version"] = stored + 1 if self.changed_data else stored
        return cleaned
