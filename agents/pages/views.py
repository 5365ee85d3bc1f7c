"""Login, logout and the chat."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET

from agents.access.logins import LoginForm, with_wait


@require_GET
@never_cache
@login_required
@ensure_csrf_cookie
def chat(request: HttpRequest) -> HttpResponse:
    """The chat. Which session is open stands in the fragment of the address; all data comes over the public API."""
    return render(request, "pages/chat.html", {"csrf_cookie": settings.CSRF_COOKIE_NAME})


def login(request: HttpRequest) -> HttpResponseBase:
    """The login. A failed one is counted, and after too many one has to wait (429)."""
    return with_wait(_login(request))


_login = auth_views.LoginView.as_view(
    template_name="pages/login.html", redirect_authenticated_user=True, authentication_form=LoginForm
)
logout = auth_views.LogoutView.as_view()
