"""Make the console's fonts small: `python subset_fonts.py` in an environment with fonttools and brotli; `make fonts`.

django-unfold brings Inter with 2,900 glyphs in four weights, and an icon font with 3,900 icons: 750 KB before a list
shows its first word. What a page nearly always needs is cut out of them. Letters beyond that come from the library's
own files (`unicode-range` in fonts.css), icons beyond `icons.txt` not at all.
"""

import sys
from pathlib import Path

from fontTools import subset

ROOT = Path(__file__).resolve().parents[1]
FONTS = ROOT / "agents" / "pages" / "static" / "bandstand" / "console" / "fonts"
# As in fonts.css: Latin with its accents, and the punctuation, arrows and signs that our own pages write.
LATIN = (
    "U+0000-00FF,U+0131,U+0152-0153,U+02C6,U+02DA,U+02DC,U+2010-2027,U+2030,"
    "U+2039-203A,U+20AC,U+2122,U+2190-2193,U+2212,U+2260,U+2264-2265"
)
ICON_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


def main() -> int:
    [library] = ROOT.glob(".venv/lib/python3.*/site-packages/unfold/static/unfold/fonts")
    for weight in ("Regular", "Medium", "SemiBold", "Bold"):
        options = _options()
        options.layout_features += ["tnum"]
        source = library / "inter" / f"Inter-{weight}.woff2"
        _cut(source, FONTS / f"inter-{weight.lower()}.woff2", options, unicodes=subset.parse_unicodes(LATIN))
    options = _options()
    options.layout_closure = False  # or every icon that can be spelt with the letters stays
    icons = (FONTS / "icons.txt").read_text(encoding="utf-8").split()
    source = library / "material-symbols" / "Material-Symbols-Outlined.woff2"
    drawn = _ligatures(source)
    _cut(source, FONTS / "icons.woff2", options, glyphs=[drawn[icon] for icon in icons], text=ICON_LETTERS)
    return 0


def _ligatures(source: Path) -> dict[str, str]:
    """Icons are written as words, and a ligature draws the word: the glyph for each word."""
    font = subset.load_font(source, subset.Options())
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


def _options() -> subset.Options:
    options = subset.Options()
    options.flavor = "woff2"
    options.name_IDs = ["*"]  # whose work it is, and its licence
    return options


def _cut(source: Path, target: Path, options: subset.Options, **kept: object) -> None:
    font = subset.load_font(source, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(**kept)
    subsetter.subset(font)
    subset.save_font(font, target, options)
    print(f"{target.name}: {source.stat().st_size:,} → {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
