"""Views of login, logout, the chat, its help, what is remembered, and schedules."""

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
from agents.pages.budget_section import quota_warning
from foundation import strict_json

_STATIC = Path(__file__).resolve().parent / "static"
_HELP = Path(__file__).parents[2] / "docs" / "chat.md"

_IMPORT = re.compile(r'^(?:import|export) .*from "(\.\.?/[\w/-]+\.js)";$', re.MULTILINE)


def _imported_modules(script: Path, modules: set[Path]) -> set[Path]:
    """`script` and all that it imports, and they import."""
    if script not in modules:
        modules.add(script)
        for imported in _IMPORT.findall(script.read_text(encoding="utf-8")):
            _imported_modules((script.parent / imported).resolve(), modules)
    return modules


def _modules(script: str) -> list[str]:
    """The modules that a page loads, for it to name: the browser asks for all of them at once and not import by
    import."""
    modules = _imported_modules(_STATIC / "bandstand" / script, set())
    return sorted(module.relative_to(_STATIC).as_posix() for module in modules)


MODULES = _modules("chat/main.js")
_MEMORIES_MODULES = _modules("memories/main.js")
_SCHEDULES_MODULES = _modules("schedules/main.js")


@require_safe
@never_cache
@login_required
@ensure_csrf_cookie
def chat(request: HttpRequest) -> HttpResponse:
    """The chat page. The URL fragment names the open session; all data comes from the API, but for a budget of which
    much is used.

    A user who may enter the console but not chat is redirected there: every login leads here.
    """
    may_chat = request.user.has_perm(USE_CHAT)
    if not may_chat and request.user.has_perm(ENTER_CONSOLE):
        return HttpResponseRedirect(reverse("admin:index"))
    quota = quota_warning(request.user.pk) if may_chat and request.user.pk else None
    context = {
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "modules": MODULES,
        "may_chat": may_chat,
        "quota": strict_json.dumps(quota).decode() if quota else "",
    }
    return render(request, "pages/chat.html", context)


@require_safe
@never_cache
@login_required
@ensure_csrf_cookie
def memories(request: HttpRequest) -> HttpResponse:
    """The page of what is remembered of its user; all data comes from the API."""
    context = {"csrf_cookie": settings.CSRF_COOKIE_NAME, "modules": _MEMORIES_MODULES}
    return render(request, "pages/memories.html", context)


@require_safe
@never_cache
@login_required
@ensure_csrf_cookie
def schedules(request: HttpRequest) -> HttpResponse:
    """The page of its user's schedules; all data comes from the API."""
    may_chat = request.user.has_perm(USE_CHAT)
    context = {"csrf_cookie": settings.CSRF_COOKIE_NAME, "modules": _SCHEDULES_MODULES, "may_chat": may_chat}
    return render(request, "pages/schedules.html", context)


@require_safe
@never_cache
@login_required
def help_page(request: HttpRequest) -> HttpResponse:
    """The help of the chat: docs/chat.md as HTML."""
    html = mark_safe(markdown_rendering.render(markdown_rendering.join_lines(_HELP.read_text(encoding="utf-8"))))  # noqa: S308 - what `render` makes is safe
    return render(request, "pages/help.html", {"text": html})


def login(request: HttpRequest) -> HttpResponseBase:
    """The login page. Failed logins are counted; after too many the response is 429."""
    return add_retry_after_header(_login(request))


_login = auth_views.LoginView.as_view(
    template_name="pages/login.html", redirect_authenticated_user=True, authentication_form=LoginForm
)
logout = auth_views.LogoutView.as_view()
