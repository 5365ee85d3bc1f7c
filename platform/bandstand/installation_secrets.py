"""Key material of an installation with an embedded database: made once, beside the data.

With a database elsewhere the same three secrets come from the environment (see `.env.example`).
"""

import base64
import binascii
import secrets
from pathlib import Path
from typing import Final

from foundation.private_files import write_once

FOLDER: Final = "keys"
NAMES: Final = ("SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY")
RECIPE: Final = 'python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
ENCRYPTION_RECIPE: Final = 'python3 -c "import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())"'
RECIPES: Final = {"BANDSTAND_ENCRYPTION_KEY": ENCRYPTION_RECIPE}


def check_encryption_key(value: str) -> None:
    """Raise ValueError unless `value` is 32 bytes in URL-safe base64."""
    try:
        length = len(base64.b64decode(value, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        length = 0
    if length != 32:
        raise ValueError(f"must be 32 bytes in URL-safe base64 ({ENCRYPTION_RECIPE})")


def make(data_dir: Path) -> None:
    """Make what is missing of the key files below `data_dir` (0600, in a folder 0700)."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in NAMES:
        write_once(folder / name.lower(), f"{_new(name)}\n")


def missing_keys(data_dir: Path) -> list[str]:
    """The keys that a first run made, for there is a database, and that are gone."""
    if not (data_dir / "postgres.json").exists():
        return []
    return [name for name in NAMES if not (data_dir / FOLDER / name.lower()).exists()]


def read(data_dir: Path) -> dict[str, str]:
    """The keys below `data_dir` by variable name, with `…_PREVIOUS` where a `….previous` file stands beside one.

    Before a first run there is nothing that a key could protect: the answer is then random and not kept, so that
    commands which need no rows (checks, help) work on a fresh clone.
    """
    folder = data_dir / FOLDER
    keys = {}
    for name in NAMES:
        path = folder / name.lower()
        keys[name] = _content(path) or _new(name)
        if previous := _content(path.with_suffix(".previous")):
            keys[f"{name}_PREVIOUS"] = previous
    return keys


def _new(name: str) -> str:
    if name == "BANDSTAND_ENCRYPTION_KEY":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(48)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
