"""Login, logout, the chat and its help."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

import markdown_rendering
from accounts.login import LoginForm, add_retry_after_header
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT

_SCRIPTS = Path(__file__).parent / "static" / "bandstand"
_HELP = Path(__file__).parents[2] / "docs" / "chat.md"

_IMPORT = re.compile(r'^(?:import|export) .*from "\./([\w-]+\.js)";$', re.MULTILINE)


def _modules_of(script: str, found: set[str]) -> set[str]:
    """`script` and all that it imports, and they import."""
    if script not in found:
        found.add(script)
        for imported in _IMPORT.findall((_SCRIPTS / script).read_text(encoding="utf-8")):
            _modules_of(imported, found)
    return found


# Named in the page, so that the browser asks for all of them at once and not import by import.
MODULES = [f"bandstand/{script}" for script in sorted(_modules_of("chat.js", set()))]


@require_safe
@never_cache
@login_required
@ensure_csrf_cookie
def chat(request: HttpRequest) -> HttpResponse:
    """The chat. Which session is open stands in the fragment of the address; all data comes over the public API.

    Who may not chat but may enter the console is sent there: this is where a login leads to.
    """
    may_chat = request.user.has_perm(USE_CHAT)
    if not may_chat and request.user.has_perm(ENTER_CONSOLE):
        return HttpResponseRedirect(reverse("admin:index"))
    known = {"csrf_cookie": settings.CSRF_COOKIE_NAME, "modules": MODULES, "may_chat": may_chat}
    return render(request, "pages/chat.html", known)


@require_safe
@never_cache
@login_required
def help_page(request: HttpRequest) -> HttpResponse:
    """What people may want to know about the chat: docs/chat.md."""
    html = mark_safe(markdown_rendering.render(markdown_rendering.join_lines(_HELP.read_text(encoding="utf-8"))))  # noqa: S308 - what `render` makes is safe
    return render(request, "pages/help.html", {"text": html})


def login(request: HttpRequest) -> HttpResponseBase:
    """The login. A failed one is counted, and after too many one has to wait (429)."""
    return add_retry_after_header(_login(request))


_login = auth_views.LoginView.as_view(
    template_name="pages/login.html", redirect_authenticated_user=True, authentication_form=LoginForm
)
logout = auth_views.LogoutView.as_view()
