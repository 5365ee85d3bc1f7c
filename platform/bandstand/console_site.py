"""The console's site: Django's admin in the look of django-unfold, entered by a permission."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.views.decorators.gzip import gzip_page

from accounts.login import ThrottledLoginMixin, add_retry_after_header
from accounts.role_permissions import ENTER_CONSOLE

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.contrib.admin.forms import AdminAuthenticationForm
else:
    from unfold.forms import AuthenticationForm as AdminAuthenticationForm
    from unfold.sites import UnfoldAdminSite as AdminSite


def _render(text: str) -> str:
    import markdown_rendering  # when somebody reads the guide

    return str(markdown_rendering.render(markdown_rendering.unbroken(text)))


class ConsoleLoginForm(ThrottledLoginMixin, AdminAuthenticationForm):
    """Lets in whom the site lets in, instead of asking for `is_staff`."""

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


class ConsoleSite(AdminSite):
    site_title = site_header = "Bandstand"
    index_title = "Overview"
    login_form = ConsoleLoginForm
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.has_perm(ENTER_CONSOLE))

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """The view, compressed: a list of fifty rows is 400 KB of HTML, most of it the same classes again."""
        return gzip_page(super().admin_view(view, cacheable))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """The colours are in our stylesheet: without them the templates write no inline style."""
        return {**super().each_context(request), "colors": None}

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Counted like the chat's: after too many failures one has to wait (429)."""
        return add_retry_after_header(super().login(request, extra_context))

    def password_change(self, *_args: Any, **_kwargs: Any) -> Any:
        """One's own page does this, for all who sign in."""
        return HttpResponseRedirect(reverse("pages:account"))

    password_change_done = password_change

    def search(self, *_args: Any, **_kwargs: Any) -> TemplateResponse:
        """Lists have their own search; the library's goes through every model."""
        raise Http404

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from monitoring.overview import overview

        return super().index(request, {**(extra_context or {}), **overview(request.user)})

    def get_urls(self) -> list[Any]:
        return [path("guide/", self.admin_view(self.guide), name="guide"), *super().get_urls()]

    def guide(self, request: HttpRequest) -> TemplateResponse:
        from console.guide import guide_page

        return guide_page(request, self, _render)

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        from console.navigation import sidebar

        return sidebar(request)
