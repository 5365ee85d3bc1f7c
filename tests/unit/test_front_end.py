"""What the style sheets, the icons and the console's frame must hold, that no browser says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import unfold
from django.contrib import admin
from django.http import HttpRequest
from django.test import RequestFactory

from accounts.models import User
from agents.pages import views as pages
from bandstand.icon_font import icons
from console.navigation import sidebar
from tests.support.surroundings import ROOT

STATIC = Path(pages.__file__).resolve().parent / "static" / "bandstand"
LIBRARY = Path(unfold.__file__).parent / "templates"
LONGEST_STYLESHEET = 450
# Of the library's templates/unfold/layouts/skeleton.html, from which ours was made.
SKELETON = "66af9f0bb45f98ba"


@pytest.mark.parametrize("path", sorted(STATIC.rglob("*.css")), ids=lambda path: path.name)
def test_a_style_sheet_can_be_read_at_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_STYLESHEET


def test_our_frame_of_the_console_was_made_from_the_librarys_of_today() -> None:
    """If this fails, carry over what the library has changed, and write its new hash above."""
    text = (LIBRARY / "unfold" / "layouts" / "skeleton.html").read_bytes()
    assert hashlib.sha256(text).hexdigest()[:16] == SKELETON


def owners_request() -> HttpRequest:
    """A request of somebody who may see all of the sidebar."""
    request = RequestFactory().get("/admin/")
    request.user = User(is_superuser=True)
    return request


def icons_named() -> set[str]:
    """All icons that the library's templates and styles name, and our templates and Python."""
    templates = "".join(path.read_text() for path in [*LIBRARY.rglob("*.html"), *(ROOT / "templates").rglob("*.html")])
    named = set(re.findall(r"material-symbols-outlined[^>]*>\s*([a-z0-9_]+)\s*<", templates))
    named |= set(re.findall(r"""\bicon=["']([a-z0-9_]+)["']""", templates))
    named |= {item["icon"] for group in sidebar(owners_request()) for item in group["items"]}
    code = "".join(path.read_text() for room in ("agents", "platform") for path in (ROOT / room).rglob("*.py"))
    named |= set(re.findall(r'\bicon="([a-z0-9_]+)"', code))
    styles = (LIBRARY.parent / "static" / "unfold" / "css" / "styles.css").read_text()
    named |= set(re.findall(r'content:"([a-z_]+)"', styles))
    return named


def test_the_small_font_draws_every_icon_that_is_named() -> None:
    assert admin.site  # the apps have registered what they have
    assert icons() == sorted(set(icons()))
    assert icons_named() - set(icons()) == set()
    assert len(icons_named()) > 80


def test_the_console_has_the_letters_of_the_chat_page() -> None:
    chat = re.search(r"--font: ([^;]+);", (STATIC / "shared" / "base.css").read_text())
    console = re.search(r"--font-sans: ([^;]+);", (STATIC / "console" / "theme.css").read_text())
    assert chat is not None
    assert console is not None
    assert chat[1] == console[1]
