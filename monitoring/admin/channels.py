"""Channels in the console: where notifications go. Secrets are written, never shown; a button sends a test."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.permissions import user_actor
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page
from console.field_filters import ChoiceFilter
from console.formatting import NOTHING, badge, format_moment
from console.views import console_page, row_url
from console.widgets import CheckboxInput, Select, Textarea, TextInput, action
from foundation.encryption import SecretUnreadable
from foundation.errors import BandstandError, InvalidInput
from monitoring.admin.notifications import notification_kind, notification_state, notification_title
from monitoring.models import AlertRule, Notification, NotificationChannel
from monitoring.notifications.channel_input import MAX_NAME, ChannelInput, describe_address
from monitoring.notifications.channel_secrets import read_address
from monitoring.notifications.channels import SavedChannel, delete_channel, save_channel, send_test
from monitoring.role_permissions import ADD_CHANNEL, CHANGE_CHANNEL, DELETE_CHANNEL, TEST_CHANNEL

Kind = NotificationChannel.Kind
RECENT_NOTIFICATIONS: Final = 10
_KIND_LABELS: Final = {
    Kind.EMAIL: "e-mail",
    Kind.SLACK: "Slack",
    Kind.PAGERDUTY: "PagerDuty",
    Kind.WEBHOOK: "webhook, signed by Standard Webhooks",
}
_ADDRESS_HELP: Final = {
    Kind.EMAIL: "E-mail addresses, one per line.",
    Kind.WEBHOOK: "The URL that notifications are posted to. Its secret is dropped when another host is named.",
}
_SECRET_HELP: Final = {
    Kind.SLACK: "The URL of an incoming webhook, as Slack shows it.",
    Kind.PAGERDUTY: "The integration key of a service, for Events API v2: 32 letters and digits.",
    Kind.WEBHOOK: "The signing key, whsec_…; empty: one is made and shown once.",
}


class ChannelForm(AuditedFormMixin, forms.Form):
    """A channel. The kind is chosen once; of the secret only whether there is one is known to the page."""

    name = forms.SlugField(max_length=MAX_NAME, widget=TextInput, help_text="Such as on-call or ops_mail.")
    kind = forms.ChoiceField(choices=list(_KIND_LABELS.items()), initial=Kind.EMAIL, widget=Select)
    address = forms.CharField(required=False, widget=Textarea({"rows": 3}), label="Address")
    secret = forms.CharField(
        required=False, max_length=2_000, widget=TextInput({"type": "password", "autocomplete": "off"}), label="Secret"
    )
    enabled = forms.BooleanField(required=False, initial=True, widget=CheckboxInput, label="Switched on")
    fallback = forms.ChoiceField(
        required=False, widget=Select, help_text="Gets what this channel could not deliver.", label="Fallback"
    )

    def __init__(self, data: Any = None, *, channel: NotificationChannel | None = None) -> None:
        super().__init__(data, initial=None if channel is None else _values(channel))
        self.channel = channel
        rows = NotificationChannel.objects.filter(for_tests=False).order_by("name").values_list("pk", "name")
        choices = [(str(pk), name) for pk, name in rows if channel is None or pk != channel.pk]
        fallback: Any = self.fields["fallback"]
        fallback.choices = [("", "none"), *choices]
        if channel is None:
            self.fields[
                "address"
            ].help_text = "For e-mail: addresses, one per line. For a webhook: its URL. Slack and PagerDuty have none."
            self.fields["secret"].help_text = (
                "For Slack: the URL of its incoming webhook. For PagerDuty: the integration key. For a webhook: its "
                "signing key; empty: one is made and shown once. For e-mail: none."
            )
        else:
            self._fit(channel)
        self.remember(channel)

    def _fit(self, channel: NotificationChannel) -> None:
        """Leave out what a channel of this kind has not."""
        kind = Kind(channel.kind)
        del self.fields["kind"]
        if kind in _ADDRESS_HELP:
            self.fields["address"].help_text = _ADDRESS_HELP[kind]
        else:
            del self.fields["address"]
        if kind in _SECRET_HELP:
            present = "Empty: the present one stays." if channel.secret else "There is none yet."
            self.fields["secret"].help_text = f"{_SECRET_HELP[kind]} {present}"
        else:
            del self.fields["secret"]

    def stored_row(self) -> NotificationChannel | None:
        if self.channel is None:
            return None
        return NotificationChannel.objects.select_for_update(no_key=True).get(pk=self.channel.pk)

    def form_values(self, row: NotificationChannel) -> dict[str, Any]:
        return {name: value for name, value in _values(row).items() if name in self.fields}

    def clean(self) -> dict[str, Any]:
        self.refuse_stale()
        return self.cleaned_data

    @property
    def values(self) -> ChannelInput:
        """What was entered, without the secret."""
        data = self.cleaned_data
        return ChannelInput(
            name=data["name"],
            kind=Kind(self.channel.kind if self.channel else data["kind"]),
            address=data.get("address", ""),
            enabled=data["enabled"],
            fallback_id=data["fallback"] or None,
        )


def _values(channel: NotificationChannel) -> dict[str, Any]:
    fallback = str(channel.fallback_id) if channel.fallback_id else ""
    try:
        address = read_address(channel)
    except SecretUnreadable:
        address = ""
    return {"name": channel.name, "address": address, "enabled": channel.enabled, "fallback": fallback}


class KindFilter(ChoiceFilter):
    title, parameter_name, column = "kind", "kind", "kind"
    values = Kind.values


@admin.register(NotificationChannel)
class NotificationChannelAdmin(ConsoleAdmin):
    """Channels, without those of the readiness validator; the page of one is its form."""

    query_budget = 7

    list_display = ("name", "display_status", "display_kind", "where", "rule_users", "display_fallback", "failures")
    list_filter = (KindFilter,)
    list_filter_submit = True
    list_select_related = ("fallback",)
    list_empty_words = "There is no channel: alerts stand in the console, and nobody is notified."
    ordering = ("name",)
    sortable_by = ()
    search_fields = ("name",)
    search_help_text = "A part of the name."
    actions = ()
    actions_detail = ("test", "remove")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        through: Any = AlertRule.channels.through
        rules = through.objects.filter(notificationchannel=OuterRef("pk")).values("notificationchannel")
        failed = Notification.objects.filter(channel=OuterRef("pk"), state=Notification.State.FAILED).order_by()
        rows: QuerySet[Any] = super().get_queryset(request).filter(for_tests=False)
        annotated: QuerySet[Any] = rows.annotate(
            rule_count=Coalesce(Subquery(rules.annotate(rows=Count("pk")).values("rows")), 0),
            failure_count=Coalesce(Subquery(failed.values("channel").annotate(rows=Count("pk")).values("rows")), 0),
        )
        return annotated

    @admin.display(description="status")
    def display_status(self, channel: NotificationChannel) -> SafeString:
        return channel_state(channel)

    @admin.display(description="kind")
    def display_kind(self, channel: NotificationChannel) -> str:
        return channel.get_kind_display()

    @admin.display(description="where to")
    def where(self, channel: NotificationChannel) -> str:
        return describe_address(channel) or NOTHING

    @admin.display(description="used by")
    def rule_users(self, channel: Any) -> str:
        return f"{channel.rule_count} rule{'' if channel.rule_count == 1 else 's'}" if channel.rule_count else "no rule"

    @admin.display(description="fallback")
    def display_fallback(self, channel: NotificationChannel) -> str:
        return channel.fallback.name if channel.fallback else NOTHING

    @admin.display(description="not delivered")
    def failures(self, channel: Any) -> str:
        return f"{channel.failure_count:,}" if channel.failure_count else NOTHING

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: a channel is deleted by its button, which sees that no rule uses it."""
        return False

    def has_test_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(TEST_CHANNEL)

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(DELETE_CHANNEL)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The page of a channel, or of a new one."""
        if object_id is None:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return self._page(request, None)
        channel = self.get_object(request, object_id)
        if channel is None:
            return self.redirect_missing(request, object_id)
        if not self.has_view_permission(request, channel):
            raise PermissionDenied
        return self._page(request, channel)

    def _page(self, request: HttpRequest, channel: NotificationChannel | None) -> HttpResponse:
        may_edit = request.user.has_perm(ADD_CHANNEL if channel is None else CHANGE_CHANNEL)
        if request.method == "POST" and not may_edit:
            raise PermissionDenied
        form = ChannelForm(request.POST if request.method == "POST" else None, channel=channel) if may_edit else None
        if form is not None and form.is_bound and (saved := _save(request, form)) is not None:
            return self._after_save(request, saved)
        return console_page(
            request,
            self,
            "console/channel.html",
            title=str(channel) if channel else "Add channel",
            opts=self.opts if channel else None,
            original=channel,
            channel=channel,
            form=form,
            **(_channel_context(request, channel) if channel else {}),
        )

    def _after_save(self, request: HttpRequest, saved: SavedChannel) -> HttpResponse:
        channel, back = saved.channel, row_url(saved.channel)
        if not saved.new_secret:
            messages.success(request, f"{channel} is saved. Send a test to see that it arrives.")
            return HttpResponseRedirect(back)
        message = (
            f"This is the signing key of {channel}. Give it to the receiver now: it is kept encrypted, and cannot be "
            "shown again."
        )
        return console_page(
            request,
            self,
            "console/show_secret.html",
            title="The signing key",
            message=message,
            secret=saved.new_secret,
            back=back,
        )

    @action(description="Send test", permissions=["test"], url_path="test", icon="campaign")
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.get_object(request, object_id)
        if channel is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Send a test to {channel}",
            message="A notification that says it is a test is sent within seconds, also if the channel is switched "
            "off. Whether it was delivered stands on its page.",
            yes="Send test",
            back=row_url(channel),
        )
        if confirmation is not None:
            return confirmation
        try:
            notification = send_test(user_actor(request.user), channel.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(channel))
        messages.success(request, "The test is under way. Load this page again to see its outcome.")
        return HttpResponseRedirect(row_url(notification))

    @action(description="Delete", permissions=["remove"], url_path="remove", icon="delete")
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.get_object(request, object_id)
        if channel is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Delete the channel {channel}",
            message="Its secret and the log of its deliveries are deleted with it. To keep them, switch it off.",
            yes="Delete",
            back=row_url(channel),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            delete_channel(user_actor(request.user), channel.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(channel))
        messages.success(request, f"The channel {channel} is deleted.")
        return HttpResponseRedirect(reverse("admin:monitoring_notificationchannel_changelist"))


@transaction.atomic
def _save(request: HttpRequest, form: ChannelForm) -> SavedChannel | None:
    """The saved channel; None, with the error at its field, where it is refused."""
    if not form.is_valid():
        return None
    try:
        return save_channel(
            user_actor(request.user),
            values=form.values,
            secret=form.cleaned_data.get("secret", ""),
            channel_id=form.channel.pk if form.channel else None,
            expected_version=form.cleaned_data["version"] if form.channel else None,
        )
    except InvalidInput as error:
        name = (error.pointer or "").removeprefix("/")
        form.add_error(name if name in form.fields else None, error.detail)
    except BandstandError as error:
        form.add_error(None, error.detail)
    return None


def channel_state(channel: NotificationChannel) -> SafeString:
    """Whether a channel is used, as a badge."""
    if not channel.enabled:
        return badge("switched off")
    is_complete = bool(channel.secret) if channel.kind != Kind.EMAIL else bool(channel.address)
    return badge("switched on", "good") if is_complete else badge("not complete", "warn")


def _channel_context(request: HttpRequest, channel: NotificationChannel) -> dict[str, Any]:
    rows = channel.notifications.select_related("rule").order_by("-pk")[:RECENT_NOTIFICATIONS]
    return {
        "state": channel_state(channel),
        "kind": channel.get_kind_display(),
        "where": describe_address(channel),
        "has_secret": bool(channel.secret),
        "needs_secret": channel.kind != Kind.EMAIL,
        "rules": channel.rules.order_by("name"),
        "notifications": [
            (
                row,
                notification_title(row),
                notification_kind(row),
                notification_state(row),
                format_moment(row.created_at),
            )
            for row in rows
        ],
        "may_test": request.user.has_perm(TEST_CHANNEL),
        "may_remove": request.user.has_perm(DELETE_CHANNEL),
    }
