"""What is recorded of each agent's turns beside their steps, for how long, and what an export contains."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.permissions import user_actor
from agents.models import Agent
from console.admin import ConsoleAdmin
from console.widgets import CheckboxInput, NumberInput, Select
from monitoring.models import TraceSettings
from monitoring.models.turn_spans import DEFAULT_SAMPLE_PERCENT, MAX_RETENTION_DAYS
from monitoring.spans.agent_settings import TraceChoices, add_trace_settings, change_trace_settings


class TraceSettingsForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    """The form of one agent's settings. The agent is chosen once."""

    class Meta:
        model = TraceSettings
        fields = ("agent", "sample_percent", "retention_days", "exports_content")
        widgets = {
            "sample_percent": NumberInput({"min": 0, "max": 100}),
            "retention_days": NumberInput({"min": 1, "max": MAX_RETENTION_DAYS}),
            "exports_content": CheckboxInput,
        }
        labels = {
            "sample_percent": "Recorded turns, in percent",
            "retention_days": "Days that spans are kept",
            "exports_content": "Export what was said",
        }
        help_texts = {
            "sample_percent": "Of so many turns the spans beside the steps are recorded. Steps always are, and in "
            "debug mode so is everything.",
            "exports_content": "Traces that leave by OpenTelemetry then contain questions, answers and what tools were "
            "sent and returned. If not, they contain names, times and numbers only.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "agent" in self.fields:
            field: Any = self.fields["agent"]
            field.queryset = Agent.objects.filter(trace_settings=None, archived_at=None).order_by("name")
            field.help_text = (
                f"Agents that are not in the list have the default: {DEFAULT_SAMPLE_PERCENT} percent, "
                f"{settings.BANDSTAND.span_days} days, and nothing of what was said."
            )
        self.remember(None if self._is_new else self.instance)

    @property
    def _is_new(self) -> bool:
        return bool(self.instance._state.adding)

    def stored_row(self) -> TraceSettings | None:
        return None if self._is_new else TraceSettings.objects.select_for_update(no_key=True).get(pk=self.instance.pk)

    def form_values(self, row: TraceSettings) -> dict[str, Any]:
        return {name: getattr(row, name) for name in ("sample_percent", "retention_days", "exports_content")}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


@admin.register(TraceSettings)
class TraceSettingsAdmin(ConsoleAdmin):
    """Agents with settings of their own."""

    query_budget = 7

    list_empty_words = (
        f"All agents have the default: {DEFAULT_SAMPLE_PERCENT} % of their turns are recorded, kept for "
        f"{settings.BANDSTAND.span_days} days. Add settings of its own for an agent that needs other ones."
    )
    form = TraceSettingsForm
    change_form_template = "console/versioned_form.html"
    list_display = ("agent", "sample_percent", "retention_days", "exports_content")
    list_select_related = ("agent",)
    ordering = ("agent__name",)
    search_fields = ("agent__name", "agent__slug")
    search_help_text = "The name of an agent."

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return TraceSettingsForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return () if obj is None else ("agent",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: an agent's settings are changed."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "agent":
            # Without the buttons that would make an agent in a window of its own.
            return db_field.formfield(**{**kwargs, "widget": Select})
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: TraceSettings, form: Any, change: bool) -> None:
        actor, data = user_actor(request.user), form.cleaned_data
        choices = TraceChoices(data["sample_percent"], data["retention_days"], data["exports_content"])
        if change:
            change_trace_settings(actor, obj.pk, choices=choices, expected_version=data["version"])
        else:
            add_trace_settings(actor, agent_id=data["agent"].pk, choices=choices)
