"""What the style sheets, the fonts and the console's frame must hold, that no browser says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import unfold
from django.contrib import admin

from agents.pages import views as pages
from console.navigation import entries_by_group
from tests.support.surroundings import ROOT

STATIC = Path(pages.__file__).resolve().parent / "static" / "bandstand"
FONTS = STATIC / "console" / "fonts"
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


def icons_named() -> set[str]:
    """All icons that the library's templates and styles name, and our templates and Python."""
    templates = "".join(path.read_text() for path in [*LIBRARY.rglob("*.html"), *(ROOT / "templates").rglob("*.html")])
    named = set(re.findall(r"material-symbols-outlined[^>]*>\s*([a-z0-9_]+)\s*<", templates))
    named |= set(re.findall(r"""\bicon=["']([a-z0-9_]+)["']""", templates))
    named |= {entry.icon for entries in entries_by_group().values() for entry in entries}
    code = "".join(path.read_text() for room in ("agents", "platform") for path in (ROOT / room).rglob("*.py"))
    named |= set(re.findall(r'\bicon="([a-z0-9_]+)"', code))
    styles = (LIBRARY.parent / "static" / "unfold" / "css" / "styles.css").read_text()
    named |= set(re.findall(r'content:"([a-z_]+)"', styles))
    return named | {"space_dashboard", "help", "chat"}  # the sidebar's own


def test_the_small_font_draws_every_icon_that_is_named() -> None:
    assert admin.site  # the apps have registered what they have
    kept = (FONTS / "icons.txt").read_text().split()
    assert kept == sorted(set(kept))
    assert icons_named() - set(kept) == set()
    assert len(icons_named()) > 80


def ranges(text: str) -> set[tuple[int, int]]:
    """The ranges of a `unicode-range`."""
    pairs = [part.strip().removeprefix("U+").partition("-") for part in text.split(",")]
    return {(int(first, 16), int(last or first, 16)) for first, _, last in pairs}


def test_every_letter_comes_from_the_small_font_or_from_the_librarys() -> None:
    found = re.findall(
        r'font-weight: (\d+);\s+font-display: swap;\s+src: url\("([^"]+)"\).*\s+unicode-range:([^;]+);',
        (FONTS / "fonts.css").read_text(),
    )
    assert len(found) == 8
    script = (ROOT / ".ci" / "subset_fonts.py").read_text()
    latin = "".join(re.findall(r'"(U\+.+)"', script))
    for (weight, small, ours), (same_weight, large, rest) in zip(found[::2], found[1::2], strict=True):
        assert weight == same_weight
        assert (FONTS / small).is_file()
        assert large.startswith("../../../unfold/fonts/inter/")
        assert ranges(ours) == ranges(latin)
        after = 0
        for first, last in sorted(ranges(ours) | ranges(rest)):
            assert first == after
            after = last + 1
        assert after == 0x110000
