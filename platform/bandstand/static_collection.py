"""Style sheets, scripts and fonts as browsers get them: a copy of all of them below an address that no other copy has.

The folder of a copy is named by a hash of what it is made of, and so is the address: `/static/<version>/bandstand/…`. A
browser may keep such a file for ever. Imports between modules and `url(…)` in style sheets are relative, so they stay
within the copy without being rewritten.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import brotli
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.compress import Compressor

from bandstand.icon_font import ICON_FONT, recipe, write_icon_font

VERSION: Final = re.compile(r"[0-9a-f]{12}")
# What no page of ours asks for: maps of compiled libraries, a second reader of the schema, the browsable API, the
# letters of django-unfold.
IGNORED: Final = ["*.map", "redoc", "rest_framework", "inter"]
# Pages that are open while a new version starts still find what they were made with.
KEPT_COPIES: Final = 3
# All files take 5.6 s of CPU at quality 11 and 0.1 at 5, and are an eighth larger then.
BROTLI_QUALITY: Final = 5


class VersionedStaticFilesStorage(StaticFilesStorage):
    """What `{% static %}` writes: addresses with the version."""

    def url(self, name: str | None) -> str:
        return super().url(f"{version()}/{name}")


def files() -> dict[str, Path]:
    """All static files by name. Where several apps have one of that name, the first app's counts."""
    found: dict[str, Path] = {}
    for finder in finders.get_finders():
        for name, storage in finder.list(IGNORED):
            found.setdefault(name, Path(storage.path(name)))
    return found


@cache
def version() -> str:
    """The hash of all static files, their names and how the icon font is cut, twelve hexadecimal digits.

    It is of the files as they were when it was first asked.
    """
    digest = hashlib.sha256(recipe())
    for name, path in sorted(files().items()):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def collect(folder: Path) -> Path:
    """Copy all static files to `folder`/<version>, with a `.gz` and a `.br` beside each that gets smaller; the copy.

    Of the icon font the copy holds what the console needs. Takes two seconds of CPU the first time, and nothing when
    the copy is there. Several processes may try at once.
    """
    copy = folder / version()
    if copy.is_dir():
        copy.touch()
        return copy
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder))
    try:
        compressor = _Compressor(quiet=True)
        for name, path in files().items():
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name == ICON_FONT:
                write_icon_font(path, target)
            else:
                shutil.copyfile(path, target)
            if compressor.should_compress(name):
                compressor.compress(str(target))
        with suppress(OSError):  # somebody else was faster, with the same files
            draft.rename(copy)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    for old in copies(folder)[KEPT_COPIES:]:
        shutil.rmtree(old, ignore_errors=True)
    return copy


def copies(folder: Path) -> list[Path]:
    """The copies in `folder`, the one that was used last first."""
    found = [path for path in folder.iterdir() if VERSION.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


class _Compressor(Compressor):  # type: ignore[misc]  # untyped
    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        compressed: bytes = brotli.compress(data, quality=BROTLI_QUALITY)
        return compressed
