"""The classes that every page of the console is built from: django-unfold's, by one door.

For the type checker they are Django's own: unfold is untyped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline

    def action(*, description: str, permissions: list[str], url_path: str = "", icon: str = "") -> Callable[[Any], Any]:
        """A button on the page of one row: a method `(self, request, object_id)` at an address of its own."""
else:
    from unfold.admin import ModelAdmin, StackedInline, TabularInline
    from unfold.decorators import action

__all__ = ["ModelAdmin", "StackedInline", "TabularInline", "action"]
