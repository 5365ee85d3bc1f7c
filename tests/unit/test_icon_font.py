"""The icon font of the console: what is cut out of the library's, and what happens when that cannot be done."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont
from structlog.testing import capture_logs

from bandstand import icon_font
from bandstand.icon_font import ICON_FONT, icons, subset_icons, write_icon_font
from bandstand.static_collection import collect, files, version
from tests.support.surroundings import ROOT, environment

LIBRARY = files()[ICON_FONT]
SERVE = """
import asyncio, django, sys
from pathlib import Path
django.setup()
from bandstand.web.static_files import StaticFiles
static = StaticFiles(None, folder=Path(sys.argv[1]), prefix="/static/")
asyncio.run(static.load())
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the copy of today."""
    folder = tmp_path_factory.mktemp("static")
    collect(folder)
    return folder


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A list of icons in place of ours."""
    version()  # kept from here on, whichever test is the first
    listed = tmp_path / "icons.txt"
    monkeypatch.setattr(icon_font, "ICON_LIST", listed)
    return listed


def test_the_font_that_is_served_has_a_drawing_for_each_icon_of_the_list_and_no_others(folder: Path) -> None:
    served = folder / version() / ICON_FONT
    assert served.stat().st_size < 20_000 < LIBRARY.stat().st_size
    font = TTFont(io.BytesIO(served.read_bytes()))
    drawn = icon_font._ligatures(font)
    assert set(icons()) <= set(drawn)
    assert len(set(drawn.values())) <= len(icons())
    assert all(font["glyf"][drawn[icon]].numberOfContours for icon in icons())


def test_the_small_font_still_says_whose_it_is(folder: Path) -> None:
    small, whole = (
        {record.nameID: str(record) for record in TTFont(io.BytesIO(path.read_bytes()))["name"].names}
        for path in (folder / version() / ICON_FONT, LIBRARY)
    )
    assert small == whole
    assert "Google" in "".join(small.values())


def test_two_machines_cut_the_same_font(folder: Path) -> None:
    assert subset_icons(LIBRARY, icons()) == (folder / version() / ICON_FONT).read_bytes()


def test_an_icon_that_the_library_has_no_more_is_named() -> None:
    with pytest.raises(LookupError, match="no icon no_such_icon, nor_this"):
        subset_icons(LIBRARY, ["add", "no_such_icon", "nor_this"])


def test_the_librarys_font_is_served_where_an_icon_is_missing(listed: Path, tmp_path: Path) -> None:
    listed.write_text("add\nno_such_icon\n")
    with capture_logs() as logs:
        copy = collect(tmp_path / "static")
    assert (copy / ICON_FONT).read_bytes() == LIBRARY.read_bytes()
    [entry] = logs
    assert (entry["event"], entry["log_level"]) == ("icon_font.failed", "warning")
    assert "no_such_icon" in entry["error"]


@pytest.mark.parametrize("content", [b"", b"wOF2", b"no font at all"])
def test_a_font_that_cannot_be_read_is_served_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "theirs.woff2").write_bytes(content)
    with capture_logs() as logs:
        write_icon_font(tmp_path / "theirs.woff2", tmp_path / "ours.woff2")
    assert (tmp_path / "ours.woff2").read_bytes() == content
    assert [entry["event"] for entry in logs] == ["icon_font.failed"]


def test_another_list_is_another_version(listed: Path) -> None:
    seen = {version()}
    for text in ("add\n", "add\nchat\n"):
        listed.write_text(text)
        seen.add(version.__wrapped__())
    assert len(seen) == 3


def test_another_fonttools_is_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    present = version()
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "0.0")
    assert version.__wrapped__() != present


def test_who_finds_the_copy_loads_nothing_for_fonts(folder: Path) -> None:
    surroundings = environment(DJANGO_SETTINGS_MODULE="bandstand.settings", BANDSTAND_ROLE="web")
    command = [sys.executable, "-c", SERVE, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True)
    assert "whitenoise" in done.stdout.split()
    assert not [name for name in done.stdout.split() if name.startswith("fontTools")]
