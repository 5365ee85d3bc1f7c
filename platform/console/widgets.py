"""django-unfold's classes for admins and widgets, imported in one place.

For the type checker they are Django's own, because unfold is untyped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
    from django.forms import (
        CheckboxInput,
        CheckboxSelectMultiple,
        EmailInput,
        NumberInput,
        RadioSelect,
        Select,
        Textarea,
        TextInput,
    )

    def action(*, description: str, permissions: list[str], url_path: str = "", icon: str = "") -> Callable[[Any], Any]:
        """A button on the page of one row: a method `(self, request, object_id)` at an address of its own."""
else:
    from unfold.admin import ModelAdmin, StackedInline, TabularInline
    from unfold.decorators import action
    from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxSelectMultiple
    from unfold.widgets import UnfoldAdminEmailInputWidget as EmailInput
    from unfold.widgets import UnfoldAdminIntegerFieldWidget as NumberInput
    from unfold.widgets import UnfoldAdminRadioSelectWidget as RadioSelect
    from unfold.widgets import UnfoldAdminSelectWidget as Select
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput
    from unfold.widgets import UnfoldBooleanSwitchWidget as CheckboxInput

__all__ = [
    "CheckboxInput",
    "CheckboxSelectMultiple",
    "EmailInput",
    "ModelAdmin",
    "NumberInput",
    "RadioSelect",
    "Select",
    "StackedInline",
    "TabularInline",
    "TextInput",
    "Textarea",
    "action",
]
