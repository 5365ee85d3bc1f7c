"""The routes to models: their circuit breakers, what their providers allow, and the buttons that hold them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.domain.circuit_breaker import ForcedState
from agents.domain.context_window import UNKNOWN_WINDOW
from agents.domain.rate_limits import Allowance
from agents.models import RouteHealth
from agents.permissions.role_permissions import FORCE_ROUTE
from agents.routing.route_actions import force_route, release_route
from agents.routing.route_status import route_status
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.formatting import NOTHING, badge, format_moment, format_second
from console.views import row_url
from console.widgets import Select, action
from foundation.clock import now
from foundation.errors import BandstandError
from foundation.graphemes import cut_text

_MAX_REASON = 120
_DURATIONS = [(600, "10 minutes"), (3_600, "1 hour"), (28_800, "8 hours"), (86_400, "1 day")]


class ForceForm(forms.Form):
    """For how long."""

    seconds = forms.TypedChoiceField(label="For", choices=_DURATIONS, coerce=int, widget=Select, initial=600)


@admin.register(RouteHealth)
class RouteHealthAdmin(ReadOnlyAdmin):
    """Routes, read-only, with buttons that hold one open or closed, and one that lets go of it."""

    query_budget = 7

    # What else is known of a route stands on its page: a list is read without scrolling sideways.
    list_display = ("route", "display_status", "until", "short_reason", "changed_at")
    list_filter = ("state",)
    ordering = ("provider", "model", "credential")
    search_ids = ()
    search_words = ("provider", "model")
    search_help_text = "A provider, or the name of a model."
    fields = (
        "route", "display_status", "until", "reason", "last_minute", "limits", "window", "tokens", "last_error",
        "last_error_at",
        "opens_in_row", "probe_successes", "probe_owner", "generation", "credential", "changed_at", "used_at",
    )  # fmt: skip
    actions_detail = ("force_open", "force_closed", "release")

    @admin.display(description="route")
    def route(self, route: RouteHealth) -> str:
        return str(route) if route.model else f"{route.provider}: the credential"

    @admin.display(description="state")
    def display_status(self, route: RouteHealth) -> SafeString:
        status = route_status(route, now())
        return badge(status.label, status.level)

    @admin.display(description="until (UTC)")
    def until(self, route: RouteHealth) -> str:
        until = route_status(route, now()).until
        return format_second(until) if until is not None else NOTHING

    @admin.display(description="why")
    def reason(self, route: RouteHealth) -> str:
        return route_status(route, now()).reason or NOTHING

    @admin.display(description="why")
    def short_reason(self, route: RouteHealth) -> SafeString:
        """As much of it as a line of the list takes, and what remains."""
        reason, limits = cut_text(self.reason(route), _MAX_REASON, mark=" …"), self.limits(route)
        words = " · ".join(text for text in (reason, limits) if text != NOTHING)
        return format_html('<span class="bs-words">{}</span>', words or NOTHING)

    @admin.display(description="calls in the last minute of trouble")
    def last_minute(self, route: RouteHealth) -> str:
        """Calls are counted here only while some fail."""
        if not route.buckets:
            return NOTHING
        calls, failures, slow = (sum(bucket[index] for bucket in route.buckets) for index in (1, 2, 3))
        return f"{calls:,}, {failures:,} failed, {slow:,} slow"

    @admin.display(description="remains, as its provider said")
    def limits(self, route: RouteHealth) -> str:
        if not route.rate_limits:
            return NOTHING
        parts = [f"{Allowance(**values)} {noun}" for noun, values in route.rate_limits.items() if noun != "at"]
        return f"{', '.join(parts)} ({str(route.rate_limits.get('at', ''))[:19]} UTC)"

    @admin.display(description="context window")
    def window(self, route: RouteHealth) -> str:
        if route.context_window is None:
            return NOTHING
        known = f"{route.context_window:,} tokens"
        return known if route.context_window else f"not known: it counts as {UNKNOWN_WINDOW:,} tokens"

    @admin.display(description="token factor")
    def tokens(self, route: RouteHealth) -> str:
        """Tokens that its provider counts, per estimated one."""
        return NOTHING if route.token_factor is None else f"{route.token_factor:.2f}"

    @admin.display(description="state since")
    def changed_at(self, route: RouteHealth) -> SafeString | str:
        return format_moment(route.changed_at)

    def has_release_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(FORCE_ROUTE)

    def has_force_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may hold this route: a credential has no breaker, its models have."""
        if not request.user.has_perm(FORCE_ROUTE):
            return False
        route = self.get_object(request, str(object_id)) if object_id is not None else None
        return route is None or bool(route.model)

    @action(description="Force open", permissions=["force"], url_path="force-open", icon="block")
    def force_open(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._force(
            request,
            object_id,
            ForcedState.OPEN,
            "Nobody asks this route until then: turns go to the next route of their release at once, or wait where "
            "there is none. After it one call finds out whether it works.",
        )

    @action(description="Force closed", permissions=["force"], url_path="force-closed", icon="check_circle")
    def force_closed(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._force(
            request,
            object_id,
            ForcedState.CLOSED,
            "The route is asked until then, however often it fails. A pause that its provider asks for still holds.",
        )

    @action(description="Release", permissions=["release"], url_path="release", icon="refresh")
    def release(self, request: HttpRequest, object_id: str) -> HttpResponse:
        route = self.get_object(request, object_id)
        if route is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Release {route}",
            message="What is forced ends, and so does any pause. If the route is open, the next call tries it.",
            yes="Release",
            back=row_url(route),
        )
        if confirmation is not None:
            return confirmation
        release_route(user_actor(request.user), route_id=route.pk)
        messages.success(request, f"{route} is released.")
        return HttpResponseRedirect(row_url(route))

    def _force(self, request: HttpRequest, object_id: str, state: ForcedState, message: str) -> HttpResponse:
        route = self.get_object(request, object_id)
        if route is None:
            return self.redirect_missing(request, object_id)
        form = ForceForm(confirmed_data(request))
        confirmation = confirmation_page(
            request,
            self,
            title=f"Force {route} {state}",
            message=message,
            yes=f"Force {state}",
            back=row_url(route),
            form=form,
            danger=state is ForcedState.OPEN,
        )
        if confirmation is not None:
            return confirmation
        try:
            force_route(user_actor(request.user), route_id=route.pk, state=state, seconds=form.cleaned_data["seconds"])
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"{route} is held {state}.")
        return HttpResponseRedirect(row_url(route))
