"""Files in the environment that Python runs at every start: those that no installed package answers for."""

from __future__ import annotations

import base64
import hashlib
import os
import site
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

# What a package's record may be read for; everything else in it is of no interest here.
_SUFFIX: Final = ".pth"
_MODULES: Final = frozenset({"sitecustomize.py", "usercustomize.py"})
# virtualenv and uv put this file into each environment that they make.
_VIRTUALENV: Final = {"_virtualenv.pth": b"import _virtualenv"}


def package_folders() -> list[Path]:
    """The folders of this process in which Python looks for such files."""
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    return [Path(folder) for folder in dict.fromkeys(folders) if folder in sys.path]


def unknown_start_files(folders: Iterable[Path]) -> list[str]:
    """The paths of `.pth` files, `sitecustomize` and `usercustomize` in `folders` that no installed package has in its
    RECORD, or has with another content. A file that cannot be read is among them."""
    return list(_unknown(tuple(sorted(version for folder in folders for version in _start_files(folder)))))


# Records are read again only when one of the files is another one: it takes a tenth of a second.
@lru_cache(maxsize=8)
def _unknown(versions: tuple[tuple[str, int, int], ...]) -> tuple[str, ...]:
    contents = {path: _content(Path(path)) for path, _, _ in versions}
    if not contents:
        return ()
    recorded = _recorded(distributions(path=sorted({str(Path(path).parent) for path in contents})))
    return tuple(
        path
        for path, content in contents.items()
        if content is None
        or (_VIRTUALENV.get(Path(path).name) != content.strip() and not _is_recorded(recorded.get(path), content))
    )


def _start_files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """The path, time of change and size of each of them."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(_SUFFIX) or entry.name in _MODULES:
            status = entry.stat(follow_symlinks=False)
            yield str(folder / entry.name), status.st_mtime_ns, status.st_size


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _recorded(installed: Iterable[Distribution]) -> dict[str, str]:
    """The hash of each such file that a package has put there; "" where its record has none."""
    hashes: dict[str, str] = {}
    for distribution in installed:
        record = distribution.read_text("RECORD") or ""
        if _SUFFIX not in record and not any(module in record for module in _MODULES):
            continue
        for file in distribution.files or ():
            if file.name.endswith(_SUFFIX) or file.name in _MODULES:
                hashes[str(distribution.locate_file(file))] = f"{file.hash.mode}={file.hash.value}" if file.hash else ""
    return hashes


def _is_recorded(recorded: str | None, content: bytes) -> bool:
    if not recorded:
        return recorded == ""
    algorithm, _, expected = recorded.partition("=")
    try:
        digest = hashlib.new(algorithm, content).digest()
    except ValueError:
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == expected
