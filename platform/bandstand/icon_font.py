"""The icon font of the console, cut down to the icons that the console shows.

django-unfold brings Material Symbols with 3,900 icons in 292 KB; those of `icons.txt` take 9 KB. Icons are written as
words, and a ligature of the font draws the word.
"""

from __future__ import annotations

import io
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

# Its name among the static files. The small font takes its place, so the library's style sheet finds it.
ICON_FONT: Final = "unfold/fonts/material-symbols/Material-Symbols-Outlined.woff2"
ICON_LIST: Final = Path(__file__).with_name("icons.txt")
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789_"


def icons() -> list[str]:
    """The words of the icons that the small font draws, sorted."""
    return ICON_LIST.read_text(encoding="utf-8").split()


def recipe() -> bytes:
    """What else than the library's font decides what the small one holds: the list, this module, fontTools' version."""
    return b"\0".join([ICON_LIST.read_bytes(), Path(__file__).read_bytes(), metadata.version("fonttools").encode()])


def write_icon_font(source: Path, target: Path) -> None:
    """Write the font of `source` with the icons of the list to `target`; where that cannot be done, the whole font.

    Takes a second of CPU, which fontTools spends on reading all 3,900 icons.
    """
    try:
        font = subset_icons(source, icons())
    except Exception as error:  # whatever a newer font may hold: a heavy page is better than no start
        log.warning("icon_font.failed", error=repr(error), font=str(source))
        shutil.copyfile(source, target)
    else:
        target.write_bytes(font)


def subset_icons(source: Path, words: list[str]) -> bytes:
    """The WOFF2 file `source` with the icons of `words` and without all others. Raises LookupError: it lacks one."""
    from fontTools import subset  # only who makes the copy of the static files needs it

    options = subset.Options()
    options.flavor = "woff2"
    options.name_IDs = ["*"]  # whose work it is
    options.layout_closure = False  # or every icon that can be spelt with the letters stays
    options.drop_tables += ["FFTM"]  # when it was drawn
    font = subset.load_font(io.BytesIO(source.read_bytes()), options)
    drawn = _ligatures(font)
    if missing := [word for word in words if word not in drawn]:
        raise LookupError(f"the font has no icon {', '.join(missing)}")
    subsetter = subset.Subsetter(options)
    subsetter.populate(glyphs=[drawn[word] for word in words], text=LETTERS)
    subsetter.subset(font)
    written = io.BytesIO()
    subset.save_font(font, written, options)
    return written.getvalue()


def _ligatures(font: Any) -> dict[str, str]:
    """The glyph that the font draws for each word."""
    letters = {glyph: chr(code) for code, glyph in font.getBestCmap().items()}
    drawn = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        for table in lookup.SubTable:
            substitution = getattr(table, "ExtSubTable", table)
            for first, ligatures in getattr(substitution, "ligatures", {}).items():
                for ligature in ligatures:
                    word = "".join(letters.get(glyph, "?") for glyph in (first, *ligature.Component))
                    drawn[word] = ligature.LigGlyph
    return drawn
