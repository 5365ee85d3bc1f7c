"""Console pages of API keys: create, show once, revoke."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.actor import Scope
from accounts.api_keys import KEY_DAYS, MAX_CONNECTIONS, SCOPE_LABELS, create_api_key, expiry_from_days, revoke_api_key
from accounts.models import ApiKey, User
from accounts.permissions import user_actor
from accounts.role_permissions import ADD_API_KEY, REVOKE_API_KEY
from accounts.unattended_work import describe_unattended_work
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.views import console_page, row_url
from console.widgets import CheckboxSelectMultiple, NumberInput, Select, TextInput, action
from foundation.clock import now
from foundation.errors import BandstandError
from foundation.ids import new_id


class KeyForm(forms.Form):
    """A new key for one user. `key_id` is in the form, so that submitting it twice creates one key."""

    user = forms.CharField(label="User name", max_length=150, widget=TextInput, help_text="Whose key it is.")
    name = forms.CharField(max_length=100, widget=TextInput, help_text="What it is for, such as “nightly report”.")
    scopes = forms.MultipleChoiceField(
        choices=list(SCOPE_LABELS.items()),
        widget=CheckboxSelectMultiple,
        initial=[Scope.READ, Scope.CHAT],
        label="What it may do",
        help_text="Never more than the person's roles allow at the time.",
    )
    days = forms.ChoiceField(choices=KEY_DAYS, widget=Select, required=False, initial="90", label="How long it works")
    connections = forms.IntegerField(
        min_value=0,
        max_value=MAX_CONNECTIONS,
        required=False,
        widget=NumberInput,
        initial=lambda: settings.BANDSTAND.connections_per_key,
        label="Connections at a time",
        help_text="Websockets, event streams and waiting requests. One key may serve many people. 0: any number.",
    )
    key_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_id)

    def clean_user(self) -> User:
        user = User.objects.filter(username=self.cleaned_data["user"]).first()
        if user is None:
            raise forms.ValidationError("There is no such person here.")
        if not user.is_active:
            raise forms.ValidationError("This account is closed.")
        return user


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_display = ("name", "user", "prefix", "state", "allowed", "created_at", "expires_at", "last_used_at")
    list_select_related = ("user",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_words = ("prefix", "user__username")
    search_help_text = "The id or prefix of a key, or the name of a user."
    fields = (*list_display, "connections", "revoked_at", "id")
    actions = ("revoke",)
    actions_detail = ("revoke_one",)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.revoked_at is not None:
            return "revoked"
        return "expired" if key.expires_at is not None and key.expires_at <= now() else "works"

    @admin.display(description="may")
    def allowed(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(ADD_API_KEY)

    def has_revoke_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(REVOKE_API_KEY)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Show the form; on success, the response to the POST shows the new key, the only time that it is visible."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = KeyForm(confirmed_data(request), initial={"user": request.GET.get("user", "")[:150]})
        back = reverse("admin:accounts_apikey_changelist")
        message = "A program that shows the key acts as this person. The key is shown once, on the next page."
        confirmation = confirmation_page(
            request, self, title="Make an API key", message=message, yes="Make the key", back=back, form=form
        )
        if confirmation is not None:
            return confirmation
        try:
            key, plain = _create_key(request, form)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(back)
        message = f"This is the key {key.name} of {key.user}. Copy it now: it is not kept, and cannot be shown again."
        return console_page(
            request, self, "console/show_secret.html", title="The new key", message=message, secret=plain, back=back
        )

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        return self._revoke(request, queryset.select_related("user"))

    @action(description="Revoke", permissions=["revoke"], url_path="revoke", icon="block")
    def revoke_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        key = self.get_object(request, object_id)
        if key is None:
            return self.redirect_missing(request, object_id)
        return self._revoke(request, [key]) or HttpResponseRedirect(row_url(key))

    def _revoke(self, request: HttpRequest, keys: Any) -> HttpResponse | None:
        keys = list(keys)
        message = "Programs that use these keys are refused at once, and their open connections close in seconds."
        if unattended := describe_unattended_work({key.user_id for key in keys}):
            message += f" What their users have planned goes on without a key: {unattended}."
        confirmation = confirmation_page(
            request,
            self,
            title="Revoke API keys",
            message=message,
            rows=[f"{key} of {key.user}" for key in keys],
            yes="Revoke",
            back=reverse("admin:accounts_apikey_changelist"),
            danger=True,
        )
        if confirmation is None:
            for key in keys:
                revoke_api_key(user_actor(request.user), key_id=key.pk)
            messages.success(request, f"Revoked: {len(keys)}.")
        return confirmation


def _create_key(request: HttpRequest, form: KeyForm) -> tuple[ApiKey, str]:
    data = form.cleaned_data
    return create_api_key(
        user_actor(request.user),
        user=data["user"],
        name=data["name"],
        scopes=[Scope(scope) for scope in data["scopes"]],
        expires_at=expiry_from_days(data["days"]),
        key_id=data["key_id"],
        connections=data["connections"],
    )
