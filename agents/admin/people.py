"""Accounts and groups. A role is a group; nobody is made a superuser here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as StockGroupAdmin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from agents.access.roles import Role
from agents.admin.readonly import ConsoleAdmin
from agents.models import User


@admin.register(User)
class UserAdmin(StockUserAdmin, ConsoleAdmin):  # type: ignore[type-arg]
    query_budget = 8

    list_display = ("username", "email", "first_name", "last_name", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    filter_horizontal = ("groups",)
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "groups")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Accounts are closed (`is_active`), not deleted: what their people did stays theirs."""
        return False

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if not change:
            # The form for a new account asks for name and password only; who has an account may chat.
            form.instance.groups.add(Group.objects.get(name=Role.USER))


# Importing Django's own page, to build on it, registers it.
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(StockGroupAdmin, ConsoleAdmin):
    query_budget = 7

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The roles stay."""
        return not _is_role(obj) and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("name",) if _is_role(obj) else tuple(super().get_readonly_fields(request, obj))


def _is_role(group: Any) -> bool:
    return isinstance(group, Group) and group.name in set(Role)
