"""Notifications in the console: what was queued, each attempt to deliver it, and the button that sends one again."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from accounts.admin.list_exports import ExportableAdmin
from accounts.permissions import user_actor
from console.confirmation import confirmation_page
from console.date_filters import SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter, FieldFilter
from console.formatting import NOTHING, badge, format_duration, format_moment
from console.keyset_changelist import parse_uuid
from console.list_export import ExportColumn
from console.list_head import ListTab
from console.views import NamedRow, console_page, row_url
from console.widgets import action
from foundation.errors import BandstandError
from monitoring.alerts.alert_descriptions import describe_labels
from monitoring.models import Notification, NotificationChannel
from monitoring.notifications.resend import resend_notification
from monitoring.role_permissions import RESEND_NOTIFICATION

_LEVELS: Final = {
    Notification.State.WAITING: "warn",
    Notification.State.SENT: "good",
    Notification.State.FAILED: "bad",
    Notification.State.HELD: "warn",
}
SHOWN_ALERTS: Final = 20
SHOWN_ATTEMPTS: Final = 50


class NotificationStateFilter(ChoiceFilter):
    title, parameter_name, column = "state", "state", "state"
    values = Notification.State.values


class NotificationKindFilter(ChoiceFilter):
    title, parameter_name, column = "kind", "kind", "kind"
    values = Notification.Kind.values


class ChannelFilter(FieldFilter):
    """By channel."""

    title, parameter_name = "channel", "channel"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        rows = NotificationChannel.objects.order_by("name").values_list("pk", "name")[:200]
        return [(str(pk), name) for pk, name in rows]

    def matching(self, value: str) -> Q:
        key = parse_uuid(value)
        if key is None:
            raise IncorrectLookupParameters(value)
        return Q(channel_id=key)


def notification_title(row: Notification) -> str:
    """What a notification says, in a line."""
    return str(row.content.get("title") or row.rule or notification_kind(row))


@admin.register(Notification)
class NotificationAdmin(ExportableAdmin):
    """The delivery log, read-only, newest first."""

    query_budget = 8

    list_display = ("created", "display_title", "display_channel", "display_kind", "display_status", "attempts", "sent")
    list_display_links = ("created",)
    list_filter = (NotificationStateFilter, ChannelFilter, NotificationKindFilter, SinceFilter, UntilFilter)
    list_filter_submit = True
    list_select_related = ("channel", "rule")
    list_tabs = (
        ListTab("All", {}),
        ListTab("Waiting", {"state": Notification.State.WAITING}),
        ListTab("Failed", {"state": Notification.State.FAILED}),
    )
    list_empty_words = "Nobody was notified of anything yet."
    search_words = ("rule__name", "dedup_key")
    search_help_text = "The id of a notification, the name of a rule, or a dedup key as its receiver has it."
    actions_detail = ("resend",)
    export_columns = (
        ExportColumn("id", attrgetter("pk")),
        ExportColumn("created_at", attrgetter("created_at")),
        ExportColumn("channel", lambda row: row.channel.name),
        ExportColumn("rule", lambda row: row.rule.name if row.rule else ""),
        ExportColumn("title", notification_title),
        *(
            ExportColumn(name, attrgetter(name))
            for name in ("kind", "state", "attempts", "finished_at", "dedup_key", "requested_by")
        ),
    )

    @admin.display(description="queued (UTC)")
    def created(self, row: Notification) -> SafeString | str:
        return format_moment(row.created_at)

    @admin.display(description="what it says")
    def display_title(self, row: Notification) -> str:
        return notification_title(row)

    @admin.display(description="channel")
    def display_channel(self, row: Notification) -> str:
        return row.channel.name

    @admin.display(description="kind")
    def display_kind(self, row: Notification) -> str:
        return notification_kind(row)

    @admin.display(description="state")
    def display_status(self, row: Notification) -> SafeString:
        return notification_state(row)

    @admin.display(description="took")
    def sent(self, row: Notification) -> str:
        return format_duration(row.created_at, row.finished_at)

    def has_resend_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may send this notification again: it has been sent, or given up."""
        if not request.user.has_perm(RESEND_NOTIFICATION):
            return False
        row = self.get_object(request, str(object_id)) if object_id is not None else None
        return row is None or row.state != Notification.State.WAITING

    @action(description="Send again", permissions=["resend"], url_path="resend", icon="redo")
    def resend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Send again to {row.channel.name}",
            message=f"“{notification_title(row)}” is sent once more as it was, with the same dedup key: a receiver "
            "that knows it already may show nothing new.",
            yes="Send again",
            back=row_url(row),
        )
        if confirmation is not None:
            return confirmation
        try:
            queued = resend_notification(user_actor(request.user), row.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(row))
        messages.success(request, "It is sent again. Load this page again to see the outcome.")
        return HttpResponseRedirect(row_url(queued))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The page of a notification, with its attempts."""
        row = None if object_id is None else self.get_object(request, object_id)
        if object_id is None or request.method == "POST" or (row and not self.has_view_permission(request, row)):
            raise PermissionDenied
        if row is None:
            return self.redirect_missing(request, object_id)
        title = notification_title(row)
        frame: dict[str, Any] = {"title": title, "opts": self.opts, "original": NamedRow(row, title)}
        return console_page(request, self, "console/notification.html", **frame, **_context(request, row))


def notification_kind(row: Notification) -> str:
    """The kind in words, and that somebody sent it again."""
    kind = str(row.get_kind_display()).lower()
    return f"{kind}, sent again" if row.requested_by and row.kind != Notification.Kind.TEST else kind


def notification_state(row: Notification) -> SafeString:
    """The state as a badge."""
    return badge(row.state, _LEVELS[Notification.State(row.state)])


def _context(request: HttpRequest, row: Notification) -> dict[str, Any]:
    content = row.content
    return {
        "notification": row,
        "state": notification_state(row),
        "kind": notification_kind(row),
        "took": format_duration(row.created_at, row.finished_at),
        "facts": [
            (name, content[key])
            for name, key in (
                ("Severity", "severity"),
                ("Condition", "condition"),
                ("Value", "value_text"),
                ("Threshold", "threshold_text"),
                ("Description", "description"),
            )
            if content.get(key)
        ],
        "runbook_url": content.get("runbook_url", ""),
        "alerts": [
            (alert, describe_labels(alert.labels) or NOTHING) for alert in row.alerts.order_by("-pk")[:SHOWN_ALERTS]
        ],
        "delivery_attempts": [
            (attempt, format_duration(attempt.started_at, attempt.finished_at))
            for attempt in row.delivery_attempts.order_by("pk")[:SHOWN_ATTEMPTS]
        ],
        "replacements": row.replacements.select_related("channel").order_by("pk"),
        "may_resend": row.state != row.State.WAITING and request.user.has_perm(RESEND_NOTIFICATION),
        "may_see_channel": request.user.has_perm("monitoring.view_notificationchannel"),
    }
