"""Silences in the console: the list, the form that creates one (also from an alert), and the button that ends one."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page
from console.field_filters import FieldFilter, require_choice
from console.formatting import badge, format_moment, format_second
from console.keyset_changelist import parse_uuid
from console.list_head import ListTab
from console.views import console_page, row_url
from console.widgets import Select, Textarea, TextInput, action
from foundation.clock import now
from foundation.errors import BandstandError, InvalidInput
from foundation.text_lines import split_lines
from monitoring.alerts.alert_descriptions import describe_labels
from monitoring.alerts.silences import (
    DEFAULT_SECONDS,
    MAX_REASON,
    active_silences,
    create_silence,
    end_silence,
    is_active,
    matches,
)
from monitoring.models import Alert, AlertRule, Silence
from monitoring.role_permissions import ADD_SILENCE, CHANGE_SILENCE

_DURATIONS: Final = [
    (1_800, "30 minutes"),
    (7_200, "2 hours"),
    (28_800, "8 hours"),
    (86_400, "1 day"),
    (604_800, "1 week"),
    (2_592_000, "30 days"),
]


class LabelsField(forms.CharField):
    """Labels with their values, one `label=value` per line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{name}={one}" for name, one in sorted(value.items())) if isinstance(value, dict) else value

    def clean(self, value: Any) -> Any:
        labels: dict[str, str] = {}
        for line in split_lines(super().clean(value)):
            name, sign, one = (part.strip() for part in line.partition("="))
            if not line.strip():
                continue
            if not (name and sign and one):
                raise forms.ValidationError(f"“{line.strip()}” is no label: write label=value, such as agent=demo.")
            labels[name] = one
        return labels


class SilenceForm(forms.Form):
    """What is silenced, for how long, and why."""

    rule = forms.ChoiceField(required=False, widget=Select, label="Alerts of")
    labels = LabelsField(
        required=False,
        widget=Textarea({"rows": 2}),
        label="Only with the labels",
        help_text="One per line, such as agent=demo. Empty: whatever their labels.",
    )
    seconds = forms.TypedChoiceField(
        label="For", choices=_DURATIONS, coerce=int, widget=Select, initial=DEFAULT_SECONDS
    )
    reason = forms.CharField(
        label="Why", max_length=MAX_REASON, widget=TextInput, help_text="Others read it beside the alert."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["rule"]
        rules = AlertRule.objects.order_by("name").values_list("pk", "name")
        field.choices = [("", "all rules"), *((str(pk), name) for pk, name in rules)]


class SilenceStateFilter(FieldFilter):
    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("active", "active"), ("ended", "ended")]

    def matching(self, value: str) -> Q:
        active = active_silences(now())
        return active if require_choice(value, ["active", "ended"]) == "active" else ~active


@admin.register(Silence)
class SilenceAdmin(ReadOnlyAdmin):
    """Silences, newest first."""

    query_budget = 7

    list_display = ("began", "about", "display_status", "reason", "created_by")
    list_display_links = ("began",)
    list_select_related = ("rule",)
    list_filter = (SilenceStateFilter,)
    list_filter_submit = True
    list_tabs = (ListTab("All", {}), ListTab("Active", {"state": "active"}), ListTab("Ended", {"state": "ended"}))
    list_empty_words = "Nothing was silenced yet. A silence is begun on the page of an alert or of a rule, or here."
    search_words = ("rule__name", "created_by")
    search_help_text = "The id of a silence, the name of a rule, or who created it."
    fields = ("about", "display_status", "reason", "created_by", "began", "end", "ended_by")
    actions_detail = ("end_now",)

    @admin.display(description="begun (UTC)")
    def began(self, silence: Silence) -> SafeString | str:
        return format_moment(silence.starts_at)

    @admin.display(description="end (UTC)")
    def end(self, silence: Silence) -> SafeString | str:
        return format_moment(silence.ends_at)

    @admin.display(description="alerts of")
    def about(self, silence: Silence) -> str:
        whose = silence.rule.name if silence.rule else "all rules"
        return f"{whose}, {describe_labels(silence.labels)}" if silence.labels else whose

    @admin.display(description="status")
    def display_status(self, silence: Silence) -> SafeString:
        if is_active(silence, now()):
            return badge(f"until {format_second(silence.ends_at)} UTC", "warn")
        return badge("ended")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(ADD_SILENCE)

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may end this silence, and it lasts."""
        if not request.user.has_perm(CHANGE_SILENCE):
            return False
        silence = self.get_object(request, str(object_id)) if object_id is not None else None
        return silence is None or is_active(silence, now())

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """The form that creates one; `?alert=` and `?rule=` say of what."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        alert, initial = _initial(request)
        form = SilenceForm(request.POST if request.method == "POST" else None, initial=initial)
        if form.is_bound and form.is_valid() and (silence := _create(request, form)) is not None:
            count = _count_matching(silence)
            now_held = (
                f" {count} open alert{'s' if count > 1 else ''} of now match{'' if count > 1 else 'es'}."
                if count
                else ""
            )
            messages.success(request, f"Silenced until {format_second(silence.ends_at)} UTC.{now_held}")
            return HttpResponseRedirect(row_url(alert or silence))
        return console_page(
            request,
            self,
            "console/silence.html",
            title="Silence alerts",
            form=form,
            alert=alert,
            back=row_url(alert) if alert else "..",
        )

    @action(description="End it now", url_path="end", permissions=["end"], icon="notifications_active")
    def end_now(self, request: HttpRequest, object_id: str) -> HttpResponse:
        silence = self.get_object(request, object_id)
        if silence is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"End the silence of {self.about(silence)}?",
            message="Whatever of it fires is notified at the next evaluation.",
            yes="Yes, end it",
            back=row_url(silence),
        )
        if confirmation is not None:
            return confirmation
        try:
            end_silence(user_actor(request.user), silence.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, "The silence has ended.")
        return HttpResponseRedirect(row_url(silence))


def _initial(request: HttpRequest) -> tuple[Alert | None, dict[str, Any]]:
    """The alert that the page was opened from, if it was, and what the form begins with."""
    key = parse_uuid(request.GET.get("alert", ""))
    alert = Alert.objects.select_related("rule").filter(pk=key).first() if key else None
    if alert is not None:
        return alert, {"rule": str(alert.rule_id), "labels": alert.labels}
    return None, {"rule": request.GET.get("rule", "")}


def _create(request: HttpRequest, form: SilenceForm) -> Silence | None:
    """The silence; None, with the error at its field, where it is refused."""
    data = form.cleaned_data
    try:
        return create_silence(
            user_actor(request.user),
            rule_id=parse_uuid(data["rule"]),
            labels=data["labels"],
            seconds=data["seconds"],
            reason=data["reason"],
        )
    except InvalidInput as error:
        form.add_error((error.pointer or "").removeprefix("/") or None, error.detail)
    except BandstandError as error:
        form.add_error(None, error.detail)
    return None


def _count_matching(silence: Silence) -> int:
    return sum(
        matches(silence, rule_id=rule_id, labels=labels)
        for rule_id, labels in Alert.objects.open().values_list("rule_id", "labels")
    )
