"""`python -m tests.browser.seeding MODULE …`: the rows of several modules by one process, which starts once.

Each module's `main` answers what it made; all of that is printed as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import django


def main(modules: Sequence[str]) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "command"
    django.setup()
    found: dict[str, Any] = {}
    for module in modules:
        made: dict[str, Any] = import_module(module).main()
        found = {**found, **made, "people": {**found.get("people", {}), **made.get("people", {})}}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
