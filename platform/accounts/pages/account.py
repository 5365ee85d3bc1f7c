"""The page of the user's own account: roles, password, API keys, and signing out of other browsers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts.account_sections import build_account_sections
from accounts.actor import Scope
from accounts.api_keys import KEY_DAYS, SCOPE_LABELS, create_api_key, expiry_from_days, revoke_api_key
from accounts.audit import record_audit
from accounts.login import add_retry_after_header, client_address, throttled
from accounts.models import ApiKey
from accounts.permissions import user_actor
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT
from accounts.roles import ROLE_DESCRIPTIONS, Role
from accounts.unattended_work import describe_unattended_work
from foundation.clock import now
from foundation.errors import BandstandError
from foundation.ids import new_id

# Keys on the page, newest first.
MAX_KEYS_SHOWN = 50

View = Callable[..., HttpResponse]


class OwnPassword(PasswordChangeForm):
    """Changes the password after asking for the present one. A wrong one counts as a failed login."""

    error_messages = PasswordChangeForm.error_messages | {"password_incorrect": "That is not your present password."}

    def __init__(self, request: HttpRequest) -> None:
        user: Any = request.user  # somebody is signed in
        super().__init__(user, request.POST if request.method == "POST" else None)
        self._address = client_address(request)

    def clean_old_password(self) -> str:
        with throttled(self.user.get_username(), self._address):
            return str(super().clean_old_password())


class SamePassword(OwnPassword):
    """Asks for the present password and saves it again: its new salt ends every login session."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request)
        del self.fields["new_password1"], self.fields["new_password2"]

    def clean(self) -> dict[str, Any]:
        return self.cleaned_data

    def save(self, commit: bool = True) -> Any:
        self.user.set_password(self.cleaned_data["old_password"])
        if commit:
            self.user.save()
        return self.user


class OwnKey(forms.Form):
    """A new API key for oneself. `key_id` is in the form, so that submitting it twice creates one key."""

    name = forms.CharField(max_length=100, label="What it is for")
    scopes = forms.MultipleChoiceField(choices=[], label="What it may do")
    days = forms.ChoiceField(choices=KEY_DAYS, required=False, label="How long it works")
    key_id = forms.UUIDField()

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.POST if request.method == "POST" else None)
        scopes = user_actor(request.user).scopes
        field: Any = self.fields["scopes"]
        field.choices = [(scope, label) for scope, label in SCOPE_LABELS.items() if scope in scopes]


def _own_account_action(view: View) -> View:
    """Decorate a view behind a button of the page: signed-in users and POST only; others are redirected."""

    @wraps(view)
    @never_cache
    @login_required(redirect_field_name=None)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return view(request, **kwargs) if request.method == "POST" else _back()

    return sensitive_post_parameters()(guarded)


@never_cache
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """The page of the user's own account."""
    return _page(request) if request.method in {"GET", "HEAD"} else HttpResponse(status=405)


@_own_account_action
def change_password(request: HttpRequest) -> HttpResponse:
    """Change the password and sign out every other browser."""
    return _save_password(request, OwnPassword(request), "user.password_changed", "Your password is changed.")


@_own_account_action
def sign_out_elsewhere(request: HttpRequest) -> HttpResponse:
    """End every other login session; API keys keep working."""
    return _save_password(request, SamePassword(request), "user.signed_out", "Every other browser is signed out.")


@_own_account_action
def make_key(request: HttpRequest) -> HttpResponse:
    """Create an API key; only the response to this POST shows it."""
    form = OwnKey(request)
    if not form.is_valid():
        return _page(request, form=form, key_form=form)
    data = form.cleaned_data
    try:
        key, plain = create_api_key(
            user_actor(request.user),
            user=request.user,  # type: ignore[arg-type]  # somebody is signed in
            name=data["name"],
            scopes=[Scope(scope) for scope in data["scopes"]],
            expires_at=expiry_from_days(data["days"]),
            key_id=data["key_id"],
        )
    except BandstandError as error:
        messages.error(request, error.detail)
        return _back()
    return _page(request, new_key=key, secret=plain)


@_own_account_action
def revoke_key(request: HttpRequest, *, key_id: UUID) -> HttpResponse:
    """Revoke one of the user's own keys."""
    try:
        key = revoke_api_key(user_actor(request.user), key_id=key_id)
    except BandstandError as error:
        messages.error(request, error.detail)
    else:
        message = f"The key {key.name} is revoked."
        if unattended := describe_unattended_work([key.user_id]):
            message += f" What you have planned goes on without a key: {unattended}."
        messages.success(request, message)
    return _back()


def _save_password(request: HttpRequest, form: OwnPassword, action: str, message: str) -> HttpResponse:
    if not form.is_valid():
        return add_retry_after_header(_page(request, form=form, **{_FORMS[type(form)]: form}))
    with transaction.atomic():
        user = form.save()
        record_audit(user_actor(user), action, target=user)
    update_session_auth_hash(request, user)
    messages.success(request, message)
    return _back()


_FORMS = {OwnPassword: "password_form", SamePassword: "sign_out_form"}


def _back() -> HttpResponse:
    return HttpResponseRedirect(reverse("pages:account"))


def _page(request: HttpRequest, **extra: Any) -> TemplateResponse:
    user: Any = request.user
    group_names = {group.name for group in user.groups.all()}
    keys = ApiKey.objects.filter(user=user, revoked_at=None).order_by("-created_at")
    context = {
        "roles": [(role, ROLE_DESCRIPTIONS[role]) for role in Role if role in group_names],
        "sections": build_account_sections(user.pk),
        "groups": sorted(group_names - set(Role)),
        "keys": keys[:MAX_KEYS_SHOWN],
        "now": now(),
        "scope_choices": OwnKey(request).fields["scopes"].choices,  # type: ignore[attr-defined]
        "usual_scopes": (Scope.READ, Scope.CHAT),
        "day_choices": KEY_DAYS,
        "key_id": new_id(),
        "unattended_work": describe_unattended_work([user.pk]),
        "may_chat": user.has_perm(USE_CHAT),
        "may_enter_console": user.has_perm(ENTER_CONSOLE),
        **extra,
    }
    return TemplateResponse(request, "pages/account.html", context)
