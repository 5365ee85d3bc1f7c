#!/usr/bin/env python3
"""Bandstand's one entry point: `manage.py <command>`."""

import sys
from pathlib import Path

# `platform/` is a plain folder on the path, never a package: an `__init__.py` there would shadow the stdlib module.
sys.path.insert(0, str(Path(__file__).resolve().parent / "platform"))

if __name__ == "__main__":
    from bandstand.command_line import main

    main(sys.argv)
