"""Bulk actions: their progress, and the button that stops one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.admin.turn_actions import OPERATOR_ACTIONS
from agents.models import BulkAction
from agents.sessions.bulk_actions import BULK_OPERATIONS, stop_bulk_action
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page
from console.formatting import badge, format_duration, format_moment
from console.views import NamedRow, console_page, row_url
from foundation.clock import now
from foundation.durations import duration
from foundation.errors import BandstandError

_LEVELS = {BulkAction.Status.OPEN: "good", BulkAction.Status.STOPPED: "warn"}


@admin.register(BulkAction)
class BulkActionAdmin(ReadOnlyAdmin):
    """Bulk actions, read-only, with a page of their progress."""

    query_budget = 7

    list_display = ("started", "display_action", "user", "display_status", "display_progress", "display_duration")
    list_select_related = ("user",)
    list_filter = ("status",)
    search_words = ("user__username",)
    search_help_text = "The id of a bulk action, or the name of a user."

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("targets")

    @admin.display(description="started (UTC)")
    def started(self, bulk: BulkAction) -> str:
        return format_moment(bulk.started_at)

    @admin.display(description="action")
    def display_action(self, bulk: BulkAction) -> str:
        return OPERATOR_ACTIONS[bulk.operation].label

    @admin.display(description="status")
    def display_status(self, bulk: BulkAction) -> SafeString:
        return _status(bulk)

    @admin.display(description="rows")
    def display_progress(self, bulk: BulkAction) -> str:
        return f"{bulk.done + bulk.refused:,} of {bulk.total:,}"

    @admin.display(description="duration")
    def display_duration(self, bulk: BulkAction) -> str:
        return format_duration(bulk.started_at, bulk.finished_at or now())

    def get_urls(self) -> list[URLPattern]:
        stop = path("<uuid:object_id>/stop/", self.admin_site.admin_view(self.stop), name="agents_bulkaction_stop")
        return [stop, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        bulk = self.get_object(request, object_id)
        if request.method == "POST" or bulk is None or not self.has_view_permission(request, bulk):
            return super().change_view(request, object_id, form_url, extra_context)
        action = OPERATOR_ACTIONS[bulk.operation]
        return console_page(
            request,
            self,
            "console/bulk_action.html",
            title=(name := f"{action.label}: {bulk.total:,} rows"),
            opts=self.opts,
            original=NamedRow(bulk, name),
            bulk=bulk,
            action=action,
            status=_status(bulk),
            processed=bulk.done + bulk.refused,
            duration=format_duration(bulk.started_at, bulk.finished_at or now()),
            time_left=_time_left(bulk),
            may_stop=bulk.status == BulkAction.Status.OPEN
            and request.user.has_perm(BULK_OPERATIONS[bulk.operation].permission),
            audit_url=f"{reverse('admin:accounts_auditentry_changelist')}?q={bulk.pk}",
        )

    def stop(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        bulk = self.get_object(request, str(object_id))
        if bulk is None or not self.has_view_permission(request, bulk):
            raise Http404
        if not request.user.has_perm(BULK_OPERATIONS[bulk.operation].permission):
            raise PermissionDenied
        # The button on the page of the bulk action sends the confirmation along: stopping may be urgent.
        warning = "What is done stays done; the other rows stay as they are."
        confirmation = confirmation_page(
            request, self, title=f"Stop {bulk}?", message=warning, yes="Stop", back=row_url(bulk), danger=True
        )
        if confirmation is not None:
            return confirmation
        try:
            stop_bulk_action(user_actor(request.user), bulk_action_id=bulk.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        return HttpResponseRedirect(row_url(bulk))


def _time_left(bulk: BulkAction) -> str:
    """The estimated time until its end at the pace so far, as text; empty when it is over or has not begun."""
    processed = bulk.done + bulk.refused
    if bulk.status != BulkAction.Status.OPEN or not processed:
        return ""
    return duration((now() - bulk.started_at).total_seconds() * (bulk.total - processed) / processed)


def _status(bulk: BulkAction) -> SafeString:
    text = "at work" if bulk.status == BulkAction.Status.OPEN else bulk.status
    return badge(text, _LEVELS.get(BulkAction.Status(bulk.status), ""))
