"""The console's admin site: Django's admin with django-unfold's templates; access needs a permission."""

from __future__ import annotations

from functools import wraps
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.middleware.gzip import GZipMiddleware
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.http import require_http_methods

from accounts.login import ThrottledLoginMixin, add_retry_after_header
from accounts.role_permissions import ENTER_CONSOLE

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.contrib.admin.forms import AdminAuthenticationForm
else:
    from unfold.forms import AuthenticationForm as AdminAuthenticationForm
    from unfold.sites import UnfoldAdminSite as AdminSite


def _render(text: str) -> str:
    import markdown_rendering  # imported only when the guide is opened

    return str(markdown_rendering.render(markdown_rendering.join_lines(text)))


# Pages of Django's admin that look rows up for widgets and links which the console has not.
_UNUSED_PAGES = frozenset({"autocomplete", "view_on_site"})


def _refuse_nul(view: Any) -> Any:
    """The view, but with 400 for a NUL in the query string, on which PostgreSQL would fail."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if any("\x00" in text for text in chain(request.GET, *(values for _, values in request.GET.lists()))):
            raise BadRequest("No row holds a NUL.")
        return view(request, *args, **kwargs)

    return guarded


class ConsoleLoginForm(ThrottledLoginMixin, AdminAuthenticationForm):
    """Requires the permission `ENTER_CONSOLE` instead of `is_staff`."""

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "Please enter the correct user name and password of somebody who may enter the console.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "User name"

    def confirm_login_allowed(self, user: Any) -> None:
        if not (user.is_active and user.has_perm(ENTER_CONSOLE)):
            raise forms.ValidationError(
                self.error_messages["invalid_login"],
                code="invalid_login",
                params={"username": self.username_field.verbose_name},
            )


class _CompressPage(GZipMiddleware):
    """Django's compression, but not of streams: it makes a gzip member of each piece, of which browsers read the first
    and show no error."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        return response if response.streaming else super().process_response(request, response)


_compress_page = decorator_from_middleware(_CompressPage)


class ConsoleSite(AdminSite):
    site_title = site_header = "Bandstand"
    index_title = "Overview"
    login_form = ConsoleLoginForm
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.has_perm(ENTER_CONSOLE))

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """The view, compressed: a list of fifty rows is 400 KB of HTML, most of it the same classes again.

        Other methods than those of a browser are refused: views that tell a GET from a POST would take them for either.
        """
        browsed = require_http_methods(["GET", "HEAD", "POST"])(super().admin_view(_refuse_nul(view), cacheable))
        return _compress_page(browsed)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The colours are in our stylesheet: without them the templates write no inline style."""
        return {**super().each_context(request), "colors": None}

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's login view, throttled like the chat's: 429 after too many failures."""
        return add_retry_after_header(super().login(request, extra_context))

    def password_change(self, *_args: Any, **_kwargs: Any) -> Any:
        """Redirect to the account page, where all users change their password."""
        return HttpResponseRedirect(reverse("pages:account"))

    password_change_done = password_change

    def search(self, *_args: Any, **_kwargs: Any) -> TemplateResponse:
        """Always 404: django-unfold's site-wide search would query every model."""
        raise Http404

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from monitoring.overview import overview, read_range

        return super().index(request, {**(extra_context or {}), **overview(request.user, read_range(request))})

    def dashboard(self, request: HttpRequest) -> TemplateResponse:
        """The live part of the start page, which the page asks for again and again."""
        from monitoring.dashboard import dashboard
        from monitoring.overview import read_range

        return TemplateResponse(request, "console/dashboard.html", dashboard(request.user, read_range(request)))

    def patterns(self, request: HttpRequest) -> TemplateResponse:
        """The page of performance patterns."""
        from monitoring.patterns_page import patterns_context

        context = {**self.each_context(request), **patterns_context(request)}
        return TemplateResponse(request, "console/patterns.html", context)

    def usage(self, request: HttpRequest) -> HttpResponse:
        """Turns, tokens and costs of a range of days; POST downloads them."""
        from monitoring.usage_page import download_usage, usage_context

        if request.method == "POST":
            return download_usage(request)
        context = {**self.each_context(request), **usage_context(request)}
        return TemplateResponse(request, "console/usage.html", context)

    def get_urls(self) -> list[Any]:
        pages = [page for page in super().get_urls() if getattr(page, "name", None) not in _UNUSED_PAGES]
        own = [
            path("guide/", self.admin_view(self.guide), name="guide"),
            path("agents/turn/<uuid:object_id>/trace/", self.admin_view(self.trace), name="agents_turn_trace"),
            path("agents/step/<int:object_id>/sent/", self.admin_view(self.sent_request), name="agents_step_sent"),
            path("agents/agent/<uuid:object_id>/debug/", self.admin_view(self.debug_agent), name="agents_agent_debug"),
            path(
                "agents/agentsession/<uuid:object_id>/debug/",
                self.admin_view(self.debug_session),
                name="agents_agentsession_debug",
            ),
            path(
                "agents/agentsession/<uuid:object_id>/export-traces/",
                self.admin_view(self.export_traces),
                name="agents_agentsession_export_traces",
            ),
            path("runbooks/", self.admin_view(self.runbooks), name="runbooks"),
            path("retention/", self.admin_view(self.retention), name="retention"),
            path("patterns/", self.admin_view(self.patterns), name="patterns"),
            path("usage/", self.admin_view(self.usage), name="usage"),
            path("dashboard/", self.admin_view(self.dashboard), name="dashboard"),
        ]
        return [*own, *pages]

    def guide(self, request: HttpRequest) -> TemplateResponse:
        from console.guide import guide_page

        return guide_page(request, self, _render)

    def runbooks(self, request: HttpRequest) -> TemplateResponse:
        """What to do about each alert."""
        from console.guide import runbooks_page

        return runbooks_page(request, self, _render)

    def retention(self, request: HttpRequest) -> TemplateResponse:
        """What is deleted after which time."""
        from scheduling.admin.retention_page import retention_page

        return retention_page(request, self)

    def trace(self, request: HttpRequest, object_id: UUID) -> TemplateResponse:
        """The waterfall of a turn."""
        from monitoring.trace.pages import trace_page

        return trace_page(request, object_id)

    def sent_request(self, request: HttpRequest, object_id: int) -> TemplateResponse:
        """What a call of a model was sent."""
        from monitoring.trace.pages import sent_request_page

        return sent_request_page(request, object_id)

    def debug_agent(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Put an agent into debug mode."""
        from monitoring.admin.debug_modes import debug_agent

        return debug_agent(request, object_id)

    def debug_session(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Put a session into debug mode."""
        from monitoring.admin.debug_modes import debug_session

        return debug_session(request, object_id)

    def export_traces(self, request: HttpRequest, object_id: UUID) -> HttpResponseBase:
        """The traces of a session as a file."""
        from monitoring.trace.pages import export_traces

        return export_traces(request, object_id)

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        from console.navigation import sidebar

        return sidebar(request)
