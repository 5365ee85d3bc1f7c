#!/usr/bin/env python3
"""Bandstand's one entry point: `manage.py <command>`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# `platform/` is a plain folder on the path, never a package: an `__init__.py` there would shadow the stdlib module.
sys.path.insert(0, str(ROOT / "platform"))


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bandstand.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
