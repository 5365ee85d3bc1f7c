"""Alert rules in the console: the list, the page of one with its form and preview, switching and deleting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.field_filters import ChoiceFilter, FieldFilter, require_choice
from console.formatting import NOTHING, badge, time_ago
from console.keyset_changelist import parse_uuid
from console.list_head import ListTab
from console.views import console_page, row_url
from console.widgets import action
from foundation.clock import now
from foundation.durations import format_duration_exactly
from foundation.errors import BandstandError
from monitoring.admin.alert_rule_form import AlertRuleForm
from monitoring.admin.rule_preview import preview_context
from monitoring.alerts.alert_descriptions import (
    describe_condition,
    describe_labels,
    describe_scope,
    format_metric_value,
)
from monitoring.alerts.alert_rules import delete_rule, save_rule, switch_rule
from monitoring.alerts.health_checks import FAILING
from monitoring.alerts.metrics import METRICS
from monitoring.models import Alert, AlertRule, Grouping, NoDataPolicy, Severity
from monitoring.role_permissions import ADD_ALERT_RULE, ADD_SILENCE, CHANGE_ALERT_RULE, DELETE_ALERT_RULE

RECENT_DAYS: Final = 7
RECENT_ALERTS: Final = 10
SEVERITY_LEVELS: Final = {Severity.CRITICAL: "bad", Severity.WARNING: "warn", Severity.INFO: ""}
_FIRING = Q(state=Alert.State.FIRING)


class RuleStateFilter(FieldFilter):
    """By what a rule does just now."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [
            ("firing", "firing"),
            ("pending", "pending"),
            ("off", "switched off"),
            ("failing", "cannot be evaluated"),
        ]

    def matching(self, value: str) -> Q:
        match require_choice(value, ["firing", "pending", "off", "failing"]):
            case "off":
                return Q(enabled=False)
            case "failing":
                return Q(enabled=True, evaluation_failures__gt=0)
            case state:
                return Q(Exists(Alert.objects.open().filter(rule=OuterRef("pk"), state=state)))


class MetricFilter(ChoiceFilter):
    """By metric, from the list of metrics, so that no query is needed."""

    title, parameter_name, column = "metric", "metric", "metric"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(metric.name, metric.title) for metric in METRICS.values()]


class SeverityFilter(ChoiceFilter):
    title, parameter_name, column = "severity", "severity", "severity"
    values = Severity.values


class SwitchForm(forms.Form):
    """What the page asked about: somebody else may have switched the rule since."""

    to = forms.ChoiceField(choices=[("on", "on"), ("off", "off")], widget=forms.HiddenInput)


@admin.register(AlertRule)
class AlertRuleAdmin(ConsoleAdmin):
    """Alert rules; the page of one is its form, beside what it would have done."""

    query_budget = 8

    list_display = ("name", "display_status", "condition", "last_value", "fired", "severity", "notified")
    list_filter = (RuleStateFilter, MetricFilter, SeverityFilter)
    list_filter_submit = True
    list_tabs = (
        ListTab("All", {}),
        ListTab("Firing", {"state": "firing"}),
        ListTab("Switched off", {"state": "off"}),
    )
    list_empty_words = "There is no rule. The built-in ones are made at the next start."
    ordering = ("name",)
    sortable_by = ()
    search_fields = ("name", "description")
    search_help_text = "A part of the name, or of the description."
    actions = ()
    actions_detail = ("switch", "remove")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        opened = Alert.objects.open().filter(rule=OuterRef("pk")).order_by().values("rule")
        recent = Alert.objects.filter(rule=OuterRef("pk"), firing_at__gte=now() - timedelta(days=RECENT_DAYS))
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(
            firing=Coalesce(Subquery(opened.filter(_FIRING).annotate(rows=Count("pk")).values("rows")), 0),
            pending=Coalesce(Subquery(opened.exclude(_FIRING).annotate(rows=Count("pk")).values("rows")), 0),
            times_fired=Coalesce(
                Subquery(recent.order_by().values("rule").annotate(rows=Count("pk")).values("rows")), 0
            ),
        ).prefetch_related("channels")
        return annotated

    @admin.display(description="state")
    def display_status(self, rule: Any) -> SafeString:
        return rule_state(rule)

    @admin.display(description="fires when")
    def condition(self, rule: AlertRule) -> SafeString:
        scope = describe_scope(rule)
        return format_html(
            '<span class="bs-words">{}{}</span>', describe_condition(rule), f" ({scope})" if scope else ""
        )

    @admin.display(description="last value")
    def last_value(self, rule: AlertRule) -> str:
        return format_metric_value(rule.metric, rule.value)

    @admin.display(description=f"fired in {RECENT_DAYS} days")
    def fired(self, rule: Any) -> str:
        return f"{rule.times_fired:,} times" if rule.times_fired > 1 else "once" if rule.times_fired else NOTHING

    @admin.display(description="notified")
    def notified(self, rule: AlertRule) -> str:
        return ", ".join(sorted(channel.name for channel in rule.channels.all())) or "nobody"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: a rule is deleted by its button, which sees that no alert is open."""
        return False

    def has_switch_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_ALERT_RULE)

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may delete this rule: those that are built in stay."""
        if not request.user.has_perm(DELETE_ALERT_RULE):
            return False
        rule = self.get_object(request, str(object_id)) if object_id is not None else None
        return rule is None or not rule.built_in

    def get_urls(self) -> list[URLPattern]:
        preview = path("preview/", self.admin_site.admin_view(self.preview), name="monitoring_alertrule_preview")
        return [preview, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """The part of the page that says what the rule in the form would have done; the page asks for it as fields
        change. Nothing is saved."""
        if not (request.user.has_perm(ADD_ALERT_RULE) or request.user.has_perm(CHANGE_ALERT_RULE)):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        rule = _find_rule(data.get("rule", ""))
        form = AlertRuleForm(data, rule=rule)
        with transaction.atomic():
            form.is_valid()
        return TemplateResponse(request, "console/alert_rule_preview.html", preview_context(form))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The page of a rule, or of a new one."""
        if object_id is None:
            if not self.has_add_permission(request):
                raise PermissionDenied
            return self._page(request, None)
        rule = self.get_object(request, object_id)
        if rule is None:
            return self.redirect_missing(request, object_id)
        if not self.has_view_permission(request, rule):
            raise PermissionDenied
        return self._page(request, rule)

    def _page(self, request: HttpRequest, rule: AlertRule | None) -> HttpResponse:
        may_edit = request.user.has_perm(ADD_ALERT_RULE if rule is None else CHANGE_ALERT_RULE)
        if request.method == "POST" and not may_edit:
            raise PermissionDenied
        data = request.POST if request.method == "POST" else None
        saves = data is not None and "_preview" not in data
        initial = request.GET.dict() if rule is None and data is None else None
        form = AlertRuleForm(data, rule=rule, initial=initial)
        if saves and (saved := _save(request, form)) is not None:
            messages.success(request, f"{saved} is saved. It holds from its next evaluation on.")
            return HttpResponseRedirect(row_url(saved))
        if data is not None and not saves:
            with transaction.atomic():
                form.is_valid()
        return console_page(
            request,
            self,
            "console/alert_rule.html",
            title=str(rule) if rule else "Add alert rule",
            opts=self.opts if rule else None,
            original=rule,
            rule=rule,
            form=form,
            may_edit=may_edit,
            saves=saves,
            is_conflict=form.conflict is not None,
            **(_rule_context(request, rule) if rule else {}),
            **preview_context(form),
        )

    @action(description="Switch on or off", permissions=["switch"], url_path="switch", icon="pause_circle")
    def switch(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rule = self.get_object(request, object_id)
        if rule is None:
            return self.redirect_missing(request, object_id)
        off = rule.enabled
        form = SwitchForm(confirmed_data(request), initial={"to": "off" if off else "on"})
        confirmation = confirmation_page(
            request,
            self,
            title=f"Switch {rule} {'off' if off else 'on'}",
            message="It is evaluated no more. Alerts of it that are open end at the next evaluation, and whoever was "
            "notified of them is notified of that."
            if off
            else "It is evaluated again from now on.",
            yes=f"Switch {'off' if off else 'on'}",
            back=row_url(rule),
            form=form,
            danger=off,
        )
        if confirmation is not None:
            return confirmation
        to = form.cleaned_data["to"]
        try:
            switch_rule(user_actor(request.user), rule.pk, enabled=to == "on")
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"{rule} is switched {to}.")
        return HttpResponseRedirect(row_url(rule))

    @action(description="Delete", permissions=["remove"], url_path="remove", icon="delete")
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rule = self.get_object(request, object_id)
        if rule is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Delete the rule {rule}",
            message="Its past alerts and its silences are deleted with it; its notifications stay. To keep them, "
            "switch it off instead.",
            yes="Delete",
            back=row_url(rule),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            delete_rule(user_actor(request.user), rule.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(row_url(rule))
        messages.success(request, f"The rule {rule} is deleted.")
        return HttpResponseRedirect(reverse("admin:monitoring_alertrule_changelist"))


@transaction.atomic
def _save(request: HttpRequest, form: AlertRuleForm) -> AlertRule | None:
    """The saved rule; None when the form is invalid. Validation and writing happen under one lock."""
    if not form.is_valid():
        return None
    try:
        return save_rule(
            user_actor(request.user),
            form.settings,
            rule_id=form.rule.pk if form.rule else None,
            expected_version=form.cleaned_data["version"] if form.rule else None,
        )
    except BandstandError as error:
        form.add_error(None, error.detail)
        return None


def rule_state(rule: Any) -> SafeString:
    """The state of a rule with the annotations of the list, as a badge."""
    if not rule.enabled:
        return badge("switched off")
    if rule.evaluation_failures:
        return badge("cannot be evaluated", "bad" if rule.evaluation_failures >= FAILING else "warn")
    if rule.firing:
        return badge("firing" if rule.firing == 1 else f"firing, {rule.firing} alerts", "bad")
    if rule.pending:
        return badge("pending" if rule.pending == 1 else f"pending, {rule.pending} alerts", "warn")
    return badge("quiet", "good") if rule.evaluated_at else badge("not evaluated yet")


def severity_badge(severity: str) -> SafeString:
    """The severity of a rule as a badge."""
    return badge(severity, SEVERITY_LEVELS.get(Severity(severity), ""))


def _rule_context(request: HttpRequest, rule: Any) -> dict[str, Any]:
    """What stands around the form of a saved rule."""
    alerts = Alert.objects.filter(rule=rule).exclude(state=Alert.State.PENDING).order_by("-id")
    return {
        "state": rule_state(rule),
        "severity_badge": severity_badge(rule.severity),
        "condition": describe_condition(rule),
        "scope": describe_scope(rule),
        "last_value": format_metric_value(rule.metric, rule.value),
        "evaluated": time_ago(rule.evaluated_at),
        "facts": list(_facts(rule)),
        "alerts": [(alert, describe_labels(alert.labels)) for alert in alerts[:RECENT_ALERTS]],
        "may_silence": request.user.has_perm(ADD_SILENCE),
        "may_remove": request.user.has_perm(DELETE_ALERT_RULE) and not rule.built_in,
    }


def _facts(rule: AlertRule) -> Iterator[tuple[str, str]]:
    """The settings in words, for those who only read."""
    yield "Description", rule.description or NOTHING
    yield "Fires when", describe_condition(rule)
    yield "Of", describe_scope(rule) or "all together"
    yield "Without a value", NoDataPolicy(rule.no_data).label
    clear = rule.clear_threshold
    yield "Ends past", "the threshold" if clear is None else format_metric_value(rule.metric, clear)
    yield "Keeps firing for", format_duration_exactly(rule.keep_firing_for_seconds)
    yield "Severity", rule.severity
    yield "Notified", ", ".join(channel.name for channel in rule.channels.all()) or "nobody"
    yield "Several at once", Grouping(rule.grouping).label
    yield "Said again every", format_duration_exactly(rule.repeat_seconds) if rule.repeat_seconds else "never"
    yield "Quiet while", ", ".join(rule.inhibited_by.values_list("name", flat=True)) or NOTHING
    yield "Runbook", rule.runbook_url or NOTHING
    yield "Evaluated every", format_duration_exactly(rule.interval_seconds)


def _find_rule(text: str) -> AlertRule | None:
    """The rule whose id the page sends along; None for a new one."""
    key = parse_uuid(text)
    return AlertRule.objects.filter(pk=key).first() if key else None
