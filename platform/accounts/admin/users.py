"""Accounts and their roles. Users choose their own passwords: the console only makes the link for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.email_outbox import email_enabled
from accounts.lockouts import find_lockout, lockouts, unlock_account, unlock_address
from accounts.models import User
from accounts.password_links import absolute_link
from accounts.permissions import user_actor
from accounts.role_permissions import CHANGE_USER
from accounts.roles import ROLE_DESCRIPTIONS, Role
from accounts.users import (
    create_user,
    deactivate_user,
    mail_password_link,
    password_link,
    reactivate_user,
    update_user,
)
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.views import console_page, row_url
from console.widgets import CheckboxSelectMultiple, RadioSelect, action
from foundation.durations import duration
from foundation.errors import BandstandError


class UserForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "groups")
        labels = {"username": "User name", "groups": "Roles and groups"}
        help_texts = {
            "username": "What the person signs in with: letters, digits and @/./+/-/_ only.",
            "groups": "Roles say what a person may do here; other groups, which agents they find.",
        }

    # Set by `get_form`: True on the page of the signed-in user, whose own roles cannot be changed.
    is_own = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "groups" not in self.fields:  # the page is read-only
            return
        groups: Any = self.fields["groups"]
        if self._is_new:
            groups.initial = list(Group.objects.filter(name=Role.USER))
        groups.choices = list(_group_choices())
        if self.is_own:
            groups.disabled = True
            groups.help_text = "You cannot change your own roles: ask another owner."
        self.remember(None if self._is_new else self.instance)

    @property
    def _is_new(self) -> bool:
        return bool(self.instance._state.adding)

    def stored_row(self) -> User | None:
        return None if self._is_new else User.objects.select_for_update(no_key=True).get(pk=self.instance.pk)

    def form_values(self, row: User) -> dict[str, Any]:
        values = {name: getattr(row, name) for name in UserForm.Meta.fields if name != "groups"}
        return values | {"groups": list(row.groups.order_by("name"))}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


@admin.register(User)
class UserAdmin(ConsoleAdmin):
    query_budget = 8
    # Queries that the page of one user may take.
    page_query_budget = 14

    form = UserForm
    change_form_template = "console/versioned_form.html"
    list_display = ("username", "full_name", "email", "roles", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    ordering = ("username",)
    search_fields = ("username", "first_name", "last_name", "email")
    actions_list = ("lockouts",)
    actions_detail = ("password_link", "unlock", "close_or_reopen")

    @admin.display(description="name")
    def full_name(self, user: User) -> str:
        return user.get_full_name()

    @admin.display(description="roles and groups")
    def roles(self, user: User) -> str:
        return ", ".join(sorted(group.name for group in user.groups.all())) or "none"

    @admin.display(description="signing in")
    def sign_in_state(self, user: User) -> str:
        # Cached on the row: the templates call this several times.
        cache = vars(user)
        if "sign_in_state" not in cache:
            cache["sign_in_state"] = _sign_in_state(user)
        return str(cache["sign_in_state"])

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return UserForm.Meta.fields if obj is None else (*UserForm.Meta.fields, "sign_in_state")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return () if obj is None else ("sign_in_state",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: accounts are closed, not deleted, so that what their users did keeps its author."""
        return False

    def has_rights_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_USER)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            return db_field.formfield(**{**kwargs, "widget": CheckboxSelectMultiple})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form_class = super().get_form(request, obj, change, **kwargs)
        return type(form_class.__name__, (form_class,), {"is_own": obj is not None and obj.pk == request.user.pk})

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        actor, details = user_actor(request.user), form.cleaned_data
        if change:
            expected = details["version"]
            update_user(actor, user_id=obj.pk, expected_version=expected, details=details, groups=details["groups"])
        else:
            obj.pk = create_user(actor, details=details, groups=details["groups"]).pk

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing: `save_model` has saved the groups."""

    def response_add(self, request: HttpRequest, obj: User, post_url_continue: str | None = None) -> HttpResponse:  # noqa: ARG002
        messages.success(
            request, f"The account {obj} is made. Now make the link with which its person chooses a password."
        )
        return HttpResponseRedirect(row_url(obj, "password_link"))

    @action(description="Password link", permissions=["rights"], url_path="password-link", icon="link")
    def password_link(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._show_user_page(request, object_id, _link_page)

    @action(description="Unlock", permissions=["rights"], url_path="unlock", icon="lock_open")
    def unlock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._show_user_page(request, object_id, _unlock_page)

    @action(description="Locked out", permissions=["rights"], url_path="locked-out", icon="lock")
    def lockouts(self, request: HttpRequest) -> HttpResponse:
        return _lockouts_page(request, self)

    @action(description="Close or reopen", permissions=["rights"], url_path="close", icon="block")
    def close_or_reopen(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._show_user_page(request, object_id, _close_page)

    def _show_user_page(self, request: HttpRequest, object_id: str, show: Any) -> HttpResponse:
        user = self.get_object(request, object_id)
        if user is None:
            return self.redirect_missing(request, object_id)
        try:
            response: HttpResponse = show(request, self, user)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(user))
        return response


def _sign_in_state(user: User) -> str:
    if not user.is_active:
        return "The account is closed."
    if (lockout := find_lockout(user)) is not None:
        state = f"{lockout.tries} tries left" if lockout.tries else f"Locked out for {duration(lockout.wait_seconds)}"
        return f"{state} after many failed attempts: press Unlock to end that."
    return "Open." if user.has_usable_password() else "Has not chosen a password yet."


class LinkForm(forms.Form):
    """Asks whether a password link is sent by e-mail or shown once."""

    MAIL, HAND = "mail", "hand"

    way = forms.ChoiceField(widget=RadioSelect, label="How it gets there", initial=MAIL)

    def __init__(self, *args: Any, address: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        way: Any = self.fields["way"]
        way.choices = [
            (self.MAIL, f"Mail it to {address}"),
            (self.HAND, "Show it here once; I hand it over in a way that only they can read"),
        ]


def _link_page(request: HttpRequest, model_admin: Any, user: User) -> HttpResponse:
    form = LinkForm(confirmed_data(request), address=user.email) if email_enabled() and user.email else None
    title = f"Password link for {user}"
    confirmation = confirmation_page(
        request,
        model_admin,
        title=title,
        message=f"Makes a link with which {user} chooses a password. It works once, for three days. "
        f"{_old_password_note(user)}{_handover_note(user)}",
        yes="Make the link",
        back=row_url(user),
        form=form,
    )
    if confirmation is not None:
        return confirmation
    if form is not None and form.cleaned_data["way"] == LinkForm.MAIL:
        email = mail_password_link(user_actor(request.user), user_id=user.pk)
        messages.success(
            request, f"A mail to {user.email} is on its way. Load this page again in a moment to see its status."
        )
        return HttpResponseRedirect(row_url(email))
    link = absolute_link(password_link(user_actor(request.user), user_id=user.pk))
    message = f"Hand this to {user}. It is not kept, and cannot be shown again."
    return console_page(
        request, model_admin, "console/show_secret.html", title=title, message=message, secret=link, back=row_url(user)
    )


def _old_password_note(user: User) -> str:
    return "The old password goes on working until then. " if user.has_usable_password() else ""


def _handover_note(user: User) -> str:
    note = "It is shown once: hand it over in a way that only they can read."
    if not email_enabled():
        return f"{note} (This installation sends no mail.)"
    return "" if user.email else f"{note} (The account has no email address.)"


def _unlock_page(request: HttpRequest, model_admin: Any, user: User) -> HttpResponse:
    confirmation = confirmation_page(
        request,
        model_admin,
        title=f"Unlock {user}",
        message=f"{user} can try to sign in again at once, however often it failed. If somebody is guessing the "
        "password, they can go on, too. An address that has to wait is unlocked on the page “Locked out”.",
        yes="Unlock",
        back=row_url(user),
    )
    if confirmation is not None:
        return confirmation
    was_locked = unlock_account(user_actor(request.user), user_id=user.pk)
    messages.success(request, f"{user} may try again." if was_locked else f"{user} did not have to wait.")
    return HttpResponseRedirect(row_url(user))


def _lockouts_page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    address = request.POST.get("address", "")[:50] if request.method == "POST" else ""
    if address:
        try:
            was_locked = unlock_address(user_actor(request.user), address=address)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"{address} may try again." if was_locked else f"{address} did not have to wait.")
        return HttpResponseRedirect(request.path)
    return console_page(request, model_admin, "console/lockouts.html", title="Locked out", lockouts=lockouts())


def _close_page(request: HttpRequest, model_admin: Any, user: User) -> HttpResponse:
    closing = user.is_active
    confirmation = confirmation_page(
        request,
        model_admin,
        title=f"{'Close' if closing else 'Reopen'} the account {user}",
        message=f"{user} is signed out within seconds and cannot come back, and the API keys stop working. "
        "What was said and done stays."
        if closing
        else f"{user} can sign in again, with the roles and keys from before.",
        yes="Close the account" if closing else "Reopen the account",
        back=row_url(user),
        danger=closing,
    )
    if confirmation is not None:
        return confirmation
    (deactivate_user if closing else reactivate_user)(user_actor(request.user), user_id=user.pk)
    messages.success(request, f"The account {user} is {'closed' if closing else 'open again'}.")
    return HttpResponseRedirect(row_url(user))


def _group_choices() -> Iterator[tuple[int, str]]:
    groups = {group.name: group.pk for group in Group.objects.order_by("name")}
    for role in Role:
        if role in groups:
            yield groups[role], f"{role}: {ROLE_DESCRIPTIONS[role]}"
    for name, key in groups.items():
        if name not in set(Role):
            yield key, f"{name} (group)"
