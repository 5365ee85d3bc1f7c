"""The form of an alert rule: plain fields, and all that is wrong said at once, at its field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS

from accounts.admin.audited_forms import AuditedFormMixin
from agents.models import Agent
from console.duration_field import DurationField
from console.widgets import CheckboxInput, CheckboxSelectMultiple, NumberInput, Select, TextInput
from monitoring.alerts.alert_rules import (
    COLUMNS,
    MAX_DESCRIPTION,
    MAX_LABEL,
    MAX_NAME,
    RuleSettings,
    lock_rule,
    rule_problems,
)
from monitoring.alerts.metrics import METRICS
from monitoring.models import AlertRule, Comparison, Grouping, NoDataPolicy, NotificationChannel, Severity

ALL, EACH, ONE = "all", "each", "one"
_SCOPES: Final = [(ALL, "all together"), (EACH, "each by itself"), (ONE, "only this one:")]
# What does not decide when a rule fires.
_EMPTY: Final = {
    "name": "",
    "description": "",
    "channels": [],
    "inhibited_by": [],
    "runbook_url": "",
    "severity": Severity.WARNING,
    "grouping": Grouping.RULE,
    "repeat_seconds": 0,
}
_NOT_JUDGED: Final = _EMPTY.keys()
# The labels of all metrics, in the order in which metrics name them.
LABELS: Final = tuple(dict.fromkeys(label for metric in METRICS.values() for label in metric.labels))
_SECTIONS: Final = (
    ("The rule", ("name", "description", "enabled")),
    ("What it looks at", ("metric",)),
    ("When it fires", ("comparison", "threshold", "window_seconds", "for_seconds", "no_data")),
    ("When it ends", ("clear_threshold", "keep_firing_for_seconds")),
    ("Who is notified", ("severity", "channels", "grouping", "repeat_seconds", "inhibited_by", "runbook_url")),
    ("How often it is evaluated", ("interval_seconds",)),
)


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The two fields of a label, whether the metric in the form has the label, and the names of metrics that do."""

    title: str
    scope: forms.BoundField
    value: forms.BoundField
    is_used: bool
    metrics: str


class AlertRuleForm(AuditedFormMixin, forms.Form):
    """The settings of `rule`, or of a new rule. Once it is valid, `settings` is what to save."""

    name = forms.SlugField(
        max_length=MAX_NAME, widget=TextInput, help_text="Such as high_error_rate. It is what notifications call it."
    )
    description = forms.CharField(
        max_length=MAX_DESCRIPTION, required=False, widget=TextInput, help_text="What it means for people."
    )
    enabled = forms.BooleanField(required=False, initial=True, widget=CheckboxInput, label="Switched on")
    metric = forms.ChoiceField(initial=next(iter(METRICS)), widget=Select)
    comparison = forms.ChoiceField(
        choices=Comparison.choices, initial=Comparison.ABOVE, widget=Select, label="Fires when the value is"
    )
    threshold = forms.FloatField(widget=NumberInput({"step": "any"}), label="Threshold")
    window_seconds = DurationField(
        label="Window",
        initial=300,
        help_text="The time that a value is of, in whole minutes that have ended. 0 for the newest sample of a gauge.",
    )
    for_seconds = DurationField(
        label="For", initial=0, help_text="So long the condition must hold before it fires; 0 s: at once."
    )
    no_data = forms.ChoiceField(
        choices=NoDataPolicy.choices,
        initial=NoDataPolicy.OK,
        widget=Select,
        label="Without a value",
        help_text="Such as a rate of turns when no turn ended.",
    )
    clear_threshold = forms.FloatField(
        required=False,
        widget=NumberInput({"step": "any"}),
        label="Clear threshold",
        help_text="What fires ends only past this value. Empty: the threshold itself.",
    )
    keep_firing_for_seconds = DurationField(
        label="Keep firing for", initial=0, help_text="So long the condition must be false before it ends."
    )
    severity = forms.ChoiceField(choices=Severity.choices, initial=Severity.WARNING, widget=Select)
    channels = forms.MultipleChoiceField(
        required=False, widget=CheckboxSelectMultiple, help_text="Nothing ticked: it stands in the console only."
    )
    grouping = forms.ChoiceField(
        choices=Grouping.choices,
        initial=Grouping.RULE,
        widget=Select,
        label="Several at once",
        help_text="Such as one for each agent.",
    )
    repeat_seconds = DurationField(
        label="Say it again every", initial=4 * 3600, help_text="While it fires. 0 s: never."
    )
    inhibited_by = forms.MultipleChoiceField(
        required=False,
        widget=CheckboxSelectMultiple,
        label="Quiet while",
        help_text="While one of these fires for the same labels, this rule sends nothing.",
    )
    runbook_url = forms.CharField(
        max_length=500,
        required=False,
        widget=TextInput,
        label="Runbook",
        help_text="The address of what to do; it stands in the notification.",
    )
    interval_seconds = DurationField(label="Every", initial=30, help_text="10 s to 1 h.")

    def __init__(self, data: Any = None, *, rule: AlertRule | None = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial if rule is None else _values(rule))
        self.rule = rule
        self._set_choices("metric", [(metric.name, _metric_label(metric)) for metric in METRICS.values()])
        channels = NotificationChannel.objects.filter(for_tests=False).order_by("name")
        self._set_choices(
            "channels",
            [
                (str(channel.pk), f"{channel.name}{'' if channel.enabled else ' (not switched on)'}")
                for channel in channels
            ],
        )
        rules = AlertRule.objects.order_by("name").values_list("pk", "name")
        choices = [(str(pk), name) for pk, name in rules if rule is None or pk != rule.pk]
        self._set_choices("inhibited_by", choices)
        for label in LABELS:
            self.fields[_scope(label)] = forms.ChoiceField(
                choices=_SCOPES, required=False, initial=ALL, widget=Select, label=f"{label.capitalize()}"
            )
            self.fields[_value(label)] = forms.CharField(
                required=False,
                max_length=MAX_LABEL,
                label=f"Which {label}",
                widget=TextInput({"autocomplete": "off", "list": f"names-{label}"}),
            )
        self.remember(rule)

    def _set_choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field: Any = self.fields[name]
        field.choices = choices

    def stored_row(self) -> AlertRule | None:
        if self.rule is None:
            return None
        return lock_rule(self.rule.pk)

    def form_values(self, row: AlertRule) -> dict[str, Any]:
        return _values(row)

    @property
    def settings(self) -> RuleSettings:
        """The settings, of a form without errors but in `_NOT_JUDGED`, whose fields are empty then."""
        data: dict[str, Any] = {**_EMPTY, **self.cleaned_data}
        # What is ticked for a label that the metric has not, from when another metric was chosen, is left out.
        allowed = METRICS[data["metric"]].labels
        scopes = {label: data.get(_scope(label)) or ALL for label in LABELS if label in allowed}
        return RuleSettings(
            **{name: data[name] for name in COLUMNS},
            labels={label: data[_value(label)] for label, scope in scopes.items() if scope == ONE},
            group_by=tuple(label for label, scope in scopes.items() if scope == EACH),
            channels=tuple(sorted(data["channels"])),
            inhibited_by=tuple(sorted(data["inhibited_by"])),
        )

    def clean(self) -> dict[str, Any]:
        if not self.errors.keys() - _NOT_JUDGED:
            for problem in rule_problems(self.settings, rule_id=self.rule.pk if self.rule else None):
                name = self._field_name(problem.pointer or "")
                if name not in self.errors:
                    self.add_error(name, problem.detail)
        self.refuse_stale()
        return self.cleaned_data

    def judged_rule(self) -> AlertRule | None:
        """The rule as it would be judged, unsaved: of a form without errors that matter to that; of one that is not
        bound the stored rule; else None."""
        if not self.is_bound:
            return self.rule
        return None if self.judging_errors() else self.settings.row()

    def judging_errors(self) -> list[tuple[str, str]]:
        """The errors of the fields that decide when the rule fires: the field's label, and what is wrong."""
        wrong = [name for name in self.errors if name not in _NOT_JUDGED and name != NON_FIELD_ERRORS]
        return [(str(self[name].label), str(error)) for name in wrong for error in self.errors[name]]

    def _field_name(self, pointer: str) -> str | None:
        name = pointer.removeprefix("/")
        if name.startswith("labels/"):
            return _value(name.removeprefix("labels/"))
        return name if name in self.fields else None

    def sections(self) -> Iterator[tuple[str, list[forms.BoundField], list[LabelRow]]]:
        """Title, fields and rows of labels of each section of the page."""
        for title, names in _SECTIONS:
            yield title, [self[name] for name in names], list(self.label_rows()) if "metric" in names else []

    def label_rows(self) -> Iterator[LabelRow]:
        """The fields of each label of any metric."""
        metric = METRICS.get(str(self["metric"].value() or next(iter(METRICS))))
        for label in LABELS:
            yield LabelRow(
                label.replace("_", " ").capitalize(),
                self[_scope(label)],
                self[_value(label)],
                metric is not None and label in metric.labels,
                " ".join(one.name for one in METRICS.values() if label in one.labels),
            )

    def suggestions(self) -> Iterator[tuple[str, list[str]]]:
        """The id of a list of names, and the names, for the labels whose values are known."""
        yield (
            "names-agent",
            list(Agent.objects.filter(archived_at=None).order_by("slug").values_list("slug", flat=True)),
        )


def _scope(label: str) -> str:
    return f"{label}_scope"


def _value(label: str) -> str:
    return f"{label}_value"


def _metric_label(metric: Any) -> str:
    return f"{metric.title} ({metric.unit})" if metric.unit else str(metric.title)


def _values(rule: AlertRule) -> dict[str, Any]:
    """The values of the form's fields by name."""
    values: dict[str, Any] = {name: getattr(rule, name) for name in COLUMNS}
    values["channels"] = [str(pk) for pk in rule.channels.order_by("pk").values_list("pk", flat=True)]
    values["inhibited_by"] = [str(pk) for pk in rule.inhibited_by.order_by("pk").values_list("pk", flat=True)]
    return values | dict(_label_values(rule.labels, rule.group_by))


def _label_values(labels: Mapping[str, str], group_by: list[str]) -> Iterator[tuple[str, str]]:
    for label in LABELS:
        yield _scope(label), ONE if label in labels else EACH if label in group_by else ALL
        yield _value(label), labels.get(label, "")
