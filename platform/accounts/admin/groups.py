"""Console pages of groups. The five built-in roles are read-only and can be copied; other groups decide who may talk to
which agent, and can serve as custom roles."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group, Permission
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.groups import change_group, copy_group, create_group, delete_group, is_role
from accounts.permissions import user_actor
from accounts.role_permissions import ADD_GROUP, DELETE_GROUP
from accounts.roles import ROLE_DESCRIPTIONS, Role, grantable_permissions
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.views import row_url
from console.widgets import CheckboxSelectMultiple, TextInput, action
from foundation.errors import BandstandError


class GroupForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    permissions = forms.ModelMultipleChoiceField(
        Permission.objects.none(),
        required=False,
        widget=CheckboxSelectMultiple,
        label="What it may do",
        help_text="Nothing, for a group that only says who may talk to which agent.",
    )

    class Meta:
        model = Group
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "permissions" in self.fields:
            # At run time, not at import: by now all apps have declared their permissions.
            self.fields["permissions"].queryset = grantable_permissions()  # type: ignore[attr-defined]
            if not self.instance._state.adding:
                self.initial["permissions"] = list(self.instance.permissions.all())
        self.remember(None if self.instance._state.adding else _versioned(self.instance))

    def stored_row(self) -> Any:
        if self.instance._state.adding:
            return None
        return _versioned(Group.objects.select_for_update(no_key=True).get(pk=self.instance.pk))

    def form_values(self, row: Any) -> dict[str, Any]:
        return (
            {"name": row.name, "permissions": row.permissions} if "permissions" in self.fields else {"name": row.name}
        )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


def _versioned(group: Group) -> Any:
    """`group` with a version. Django's groups have none, so it is a checksum of the name and the permissions."""
    permissions = list(group.permissions.order_by("name"))
    content = f"{group.name} {[permission.pk for permission in permissions]}"
    version = zlib.crc32(content.encode()) >> 1
    return SimpleNamespace(pk=group.pk, _meta=group._meta, name=group.name, permissions=permissions, version=version)


class CopyForm(forms.Form):
    name = forms.CharField(max_length=150, widget=TextInput, help_text="What the copy is called.")


@admin.register(Group)
class GroupAdmin(ConsoleAdmin):
    query_budget = 7

    form = GroupForm
    change_form_template = "console/versioned_form.html"
    list_display = ("name", "purpose", "people")
    ordering = ("name",)
    search_fields = ("name",)
    actions_detail = ("copy_group", "delete_group")

    @admin.display(description="what it is for")
    def purpose(self, group: Group) -> str:
        if is_role(group):
            return f"{ROLE_DESCRIPTIONS[Role(group.name)]} A built-in role: it stays as it is, and can be copied."
        return "Says who may talk to which agent, or is a role of your own."

    @admin.display(description="users")
    def people(self, group: Any) -> int:
        return int(group.people)

    @admin.display(description="what it may do")
    def rights(self, group: Group) -> str:
        return "\n".join(group.permissions.order_by("name").values_list("name", flat=True)) or "nothing by itself"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        groups: QuerySet[Any] = super().get_queryset(request).annotate(people=Count("user"))
        return groups

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        if obj is None:
            return ("name",)
        return ("name", "purpose", "people", "rights" if is_role(obj) else "permissions")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        if obj is None:
            return ()
        return ("purpose", "people", "rights") if is_role(obj) else ("purpose", "people")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False for the built-in roles."""
        return not (isinstance(obj, Group) and is_role(obj)) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: groups are deleted by the button only, which checks that no agent would become public."""
        return False

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """False for the built-in roles."""
        group = None if object_id is None else self.get_object(request, object_id)
        if group is not None and is_role(group):
            return False
        return request.user.has_perm(DELETE_GROUP)

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        actor, name = user_actor(request.user), form.cleaned_data["name"]
        if change:
            change_group(actor, group_id=obj.pk, name=name, permissions=form.cleaned_data.get("permissions"))
        else:
            obj.pk = create_group(actor, name=name).pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing: `save_model` has saved everything."""

    def has_copy_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(ADD_GROUP)

    @action(description="Copy", permissions=["copy"], url_path="copy", icon="content_copy")
    def copy_group(self, request: HttpRequest, object_id: str) -> HttpResponse:
        group = self.get_object(request, object_id)
        if group is None:
            return self.redirect_missing(request, object_id)
        form = CopyForm(confirmed_data(request), initial={"name": f"copy of {group}"})
        message = "The copy may do what this one may do now; change that on its page. It has no people yet."
        confirmation = confirmation_page(
            request, self, title=f"Copy {group}", message=message, yes="Copy", back=row_url(group), form=form
        )
        if confirmation is not None:
            return confirmation
        try:
            copy = copy_group(user_actor(request.user), group_id=group.pk, name=form.cleaned_data["name"])
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(group))
        messages.success(request, f"The group {copy} is made.")
        return HttpResponseRedirect(row_url(copy))

    @action(description="Delete", permissions=["remove"], url_path="remove", icon="delete")
    def delete_group(self, request: HttpRequest, object_id: str) -> HttpResponse:
        group = self.get_object(request, object_id)
        if group is None:
            return self.redirect_missing(request, object_id)
        message = f"Its people keep their accounts and lose nothing but this group ({group.people})."
        title = f"Delete the group {group}"
        confirmation = confirmation_page(
            request, self, title=title, message=message, yes="Delete", back=row_url(group), danger=True
        )
        if confirmation is not None:
            return confirmation
        try:
            delete_group(user_actor(request.user), group_id=group.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(group))
        messages.success(request, f"The group {group} is deleted.")
        return HttpResponseRedirect(reverse("admin:auth_group_changelist"))
