"""Roles and groups. The five roles are explained and stay; other groups decide who may talk to which agent."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from agents.access.groups import create_group, delete_group, is_role, rename_group
from agents.access.permissions import actor_of
from agents.access.roles import DELETE_GROUP, ROLE_WORDS, Role
from agents.admin.confirm import ask
from agents.admin.look import action
from agents.admin.pages import address_of
from agents.admin.readonly import ConsoleAdmin
from agents.admin.versions import Versioned
from foundation.errors import BandstandError


class GroupForm(Versioned, forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Group
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.remember(None if self.instance._state.adding else _versioned(self.instance))

    def stored_row(self) -> Any:
        if self.instance._state.adding:
            return None
        return _versioned(Group.objects.select_for_update(no_key=True).get(pk=self.instance.pk))

    def values_of(self, row: Any) -> dict[str, Any]:
        return {"name": row.name}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


def _versioned(group: Group) -> Any:
    """Groups are Django's and count no versions: a name that is another is another version."""
    return SimpleNamespace(
        pk=group.pk, _meta=group._meta, name=group.name, version=zlib.crc32(group.name.encode()) >> 1
    )


@admin.register(Group)
class GroupAdmin(ConsoleAdmin):
    query_budget = 7

    form = GroupForm
    change_form_template = "agents/admin/versioned.html"
    list_display = ("name", "what", "people")
    ordering = ("name",)
    search_fields = ("name",)
    actions_detail = ("delete_group",)

    @admin.display(description="what it is for")
    def what(self, group: Group) -> str:
        return ROLE_WORDS[Role(group.name)] if is_role(group) else "Says who may talk to which agent."

    @admin.display(description="people")
    def people(self, group: Any) -> int:
        return int(group.people)

    @admin.display(description="what it may do")
    def rights(self, group: Group) -> str:
        return "\n".join(group.permissions.order_by("name").values_list("name", flat=True)) or "nothing by itself"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        groups: QuerySet[Any] = super().get_queryset(request).annotate(people=Count("user"))
        return groups

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("name", "what", "people", "rights") if obj is not None else ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("what", "people", "rights") if obj is not None else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The roles stay as they are."""
        return not (isinstance(obj, Group) and is_role(obj)) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Only by the button, which looks first whether an agent would become everybody's."""
        return False

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(DELETE_GROUP)

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        actor, name = actor_of(request.user), form.cleaned_data["name"]
        if change:
            rename_group(actor, group_id=obj.pk, name=name)
        else:
            obj.pk = create_group(actor, name=name).pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """There is nothing else to save."""

    @action(description="Delete", permissions=["remove"], url_path="remove", icon="delete")
    def delete_group(self, request: HttpRequest, object_id: str) -> HttpResponse:
        group = self.get_object(request, object_id)
        if group is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
            return missing
        words = f"Its people keep their accounts and lose nothing but this group ({group.people})."
        title = f"Delete the group {group}"
        asked = ask(request, self, title=title, words=words, yes="Delete", back=address_of(group), danger=True)
        if asked is not None:
            return asked
        try:
            delete_group(actor_of(request.user), group_id=group.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(address_of(group))
        messages.success(request, f"The group {group} is deleted.")
        return HttpResponseRedirect(reverse("admin:auth_group_changelist"))
