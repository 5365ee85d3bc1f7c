"""Alerts in the console: the list, and the page of one with its course, its values and its notifications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString

from accounts.admin.list_exports import ExportableAdmin
from console.date_filters import SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter, FieldFilter
from console.formatting import NOTHING, badge, format_duration, format_moment
from console.keyset_changelist import parse_uuid
from console.list_export import ExportColumn
from console.list_head import ListTab
from console.views import NamedRow, console_page
from foundation.clock import now
from monitoring.admin.alert_rules import severity_badge
from monitoring.admin.rule_preview import episode_chart
from monitoring.alerts.alert_descriptions import (
    describe_condition,
    describe_labels,
    describe_scope,
    format_alert_value,
    is_of_present_rule,
)
from monitoring.alerts.metrics import METRICS
from monitoring.alerts.silences import matches
from monitoring.models import Alert, AlertRule, DeliveryAttempt, Notification, Severity, Silence
from monitoring.role_permissions import ADD_SILENCE

_LEVELS: Final = {Alert.State.PENDING: "warn", Alert.State.FIRING: "bad", Alert.State.RESOLVED: "good"}
# Of one alert: repeats of days are many.
SHOWN_NOTIFICATIONS: Final = 50


class AlertStateFilter(ChoiceFilter):
    title, parameter_name, column = "state", "state", "state"
    values = Alert.State.values


class AlertSeverityFilter(ChoiceFilter):
    title, parameter_name, column = "severity", "severity", "rule__severity"
    values = Severity.values


class RuleFilter(FieldFilter):
    """By rule."""

    title, parameter_name = "rule", "rule"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(str(pk), name) for pk, name in AlertRule.objects.order_by("name").values_list("pk", "name")[:200]]

    def matching(self, value: str) -> Q:
        key = parse_uuid(value)
        if key is None:
            raise IncorrectLookupParameters(value)
        return Q(rule_id=key)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What happened to an alert at a moment; `address` leads to more."""

    at: datetime
    text: str
    detail: str = ""
    address: str = ""


@admin.register(Alert)
class AlertAdmin(ExportableAdmin):
    """Alerts, read-only, newest first."""

    query_budget = 8

    list_display = (
        "rule_name",
        "display_status",
        "display_labels",
        "severity",
        "display_value",
        "since",
        "lasted",
        "notified",
    )
    list_display_links = ("rule_name",)
    list_filter = (AlertStateFilter, RuleFilter, AlertSeverityFilter, SinceFilter, UntilFilter)
    list_filter_submit = True
    list_select_related = ("rule",)
    list_tabs = (
        ListTab("Firing", {"state": Alert.State.FIRING}),
        ListTab("Pending", {"state": Alert.State.PENDING}),
        ListTab("Resolved", {"state": Alert.State.RESOLVED}),
        ListTab("All", {}),
    )
    list_empty_words = "No alert rule has fired yet."
    search_words = ("rule__name",)
    search_help_text = "The id of an alert, or the name of a rule."
    export_columns = (
        ExportColumn("id", attrgetter("pk")),
        ExportColumn("rule", lambda alert: alert.rule.name),
        ExportColumn("severity", lambda alert: alert.rule.severity),
        *(
            ExportColumn(name, attrgetter(name))
            for name in ("labels", "state", "value", "pending_at", "firing_at", "resolved_at", "notified_at")
        ),
        ExportColumn("suppressed_by", attrgetter("suppressed_by")),
    )

    @admin.display(description="rule")
    def rule_name(self, alert: Alert) -> str:
        return alert.rule.name

    @admin.display(description="state")
    def display_status(self, alert: Alert) -> SafeString:
        return state_badge(alert)

    @admin.display(description="severity")
    def severity(self, alert: Alert) -> str:
        return alert.rule.severity

    @admin.display(description="of")
    def display_labels(self, alert: Alert) -> str:
        return describe_labels(alert.labels) or NOTHING

    @admin.display(description="value")
    def display_value(self, alert: Alert) -> str:
        return format_alert_value(alert)

    @admin.display(description="since (UTC)")
    def since(self, alert: Alert) -> SafeString | str:
        return format_moment(alert.firing_at or alert.pending_at)

    @admin.display(description="lasted")
    def lasted(self, alert: Alert) -> str:
        return format_duration(alert.firing_at or alert.pending_at, alert.resolved_at or now())

    @admin.display(description="notified")
    def notified(self, alert: Alert) -> SafeString | str:
        if alert.suppressed_by:
            return f"held back by {alert.suppressed_by}"
        return format_moment(alert.notified_at) if alert.notified_at else "not yet"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The page of an alert."""
        alert = None if object_id is None else self.get_object(request, object_id)
        if object_id is None or (alert is not None and not self.has_view_permission(request, alert)):
            raise PermissionDenied
        if alert is None:
            return self.redirect_missing(request, object_id)
        if request.method == "POST":
            raise PermissionDenied
        name = str(alert.rule)
        frame: dict[str, Any] = {"title": name, "opts": self.opts, "original": NamedRow(alert, name)}
        return console_page(request, self, "console/alert.html", **frame, **_alert_context(request, alert))


def state_badge(alert: Alert) -> SafeString:
    """The state of an alert as a badge."""
    return badge(alert.state, _LEVELS[Alert.State(alert.state)])


def _alert_context(request: HttpRequest, alert: Alert) -> dict[str, Any]:
    attempts = Prefetch("delivery_attempts", DeliveryAttempt.objects.order_by("pk"))
    may_see = request.user.has_perm("monitoring.view_notification")
    sent = alert.notifications.select_related("channel").prefetch_related(attempts).order_by("-pk")
    notifications = list(sent[:SHOWN_NOTIFICATIONS]) if may_see else []
    silences = [
        silence
        for silence in Silence.objects.filter(
            Q(rule=None) | Q(rule=alert.rule_id),
            ends_at__gte=alert.pending_at,
            starts_at__lte=alert.resolved_at or now() + timedelta(days=1),
        ).order_by("pk")
        if matches(silence, rule_id=alert.rule_id, labels=alert.labels)
    ]
    rule = alert.rule
    metric = METRICS.get(rule.metric)
    return {
        "alert": alert,
        "state": state_badge(alert),
        "severity_badge": severity_badge(rule.severity),
        "labels": describe_labels(alert.labels),
        "condition": describe_condition(rule),
        "scope": describe_scope(rule),
        "value": format_alert_value(alert),
        "lasted": format_duration(alert.firing_at or alert.pending_at, alert.resolved_at or now()),
        "metric_title": (metric.title if metric else rule.metric) if is_of_present_rule(alert) else "Value",
        "metric_address": _metric_address(rule.metric),
        "chart": episode_chart(alert) if is_of_present_rule(alert) else None,
        "is_of_present_rule": is_of_present_rule(alert),
        "timeline": sorted(_timeline(alert, notifications, silences), key=lambda entry: entry.at),
        "notifications": notifications,
        "may_see_notifications": may_see,
        "may_silence": alert.resolved_at is None and request.user.has_perm(ADD_SILENCE),
    }


def _metric_address(name: str) -> str:
    """The page that shows the rows behind a metric; "" if there is none."""
    metric = METRICS.get(name)
    try:
        return metric.page.url() if metric else ""
    except NoReverseMatch:
        return ""


def _timeline(
    alert: Alert, notifications: Sequence[Notification], silences: Sequence[Silence]
) -> Iterator[TimelineEntry]:
    yield TimelineEntry(alert.pending_at, "The condition began to hold")
    if alert.firing_at is not None:
        yield TimelineEntry(alert.firing_at, "It fires")
    if alert.clear_at is not None:
        yield TimelineEntry(alert.clear_at, "The condition is false")
    if alert.resolved_at is not None:
        yield TimelineEntry(alert.resolved_at, "It has ended")
    for notification in notifications:
        yield TimelineEntry(
            notification.created_at,
            f"Notification to {notification.channel.name}: {notification.get_kind_display().lower()}",
            notification.state,
            reverse("admin:monitoring_notification_change", args=[notification.pk]),
        )
    for silence in silences:
        yield TimelineEntry(
            max(silence.starts_at, alert.pending_at),
            f"Silenced by {silence.created_by}",
            silence.reason,
            reverse("admin:monitoring_silence_change", args=[silence.pk]),
        )
