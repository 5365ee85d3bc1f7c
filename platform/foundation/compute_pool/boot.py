"""How a process without anything of ours is started: no environment, no site packages but those of this process."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final

# The first argument is the path of modules; the environment that could name it is empty: also of what Sentry's SDK
# adds to that of every process which is started.
_BOOT: Final = (
    "import importlib, json, os, sys; os.environ.clear(); options = json.loads(sys.argv[1]);"
    "sys.path[:] = options.pop('path'); module, name = options.pop('target').split(':');"
    "getattr(importlib.import_module(module), name)(**options)"
)


def isolated_command(target: str, options: dict[str, Any]) -> list[str]:
    """The command of a process that calls `target`, as in `package.module:function`, with `options` (JSON)."""
    path = [os.path.abspath(entry) for entry in sys.path]
    return [sys.executable, "-I", "-c", _BOOT, json.dumps({**options, "target": target, "path": path})]
