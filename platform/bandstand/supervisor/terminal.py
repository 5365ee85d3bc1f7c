"""Output on the terminal."""

import sys
from contextlib import suppress


def print_line(text: str) -> None:
    """Print a line; errors of a closed terminal are ignored."""
    with suppress(OSError, ValueError):
        print(text, flush=True)


def print_error(text: str) -> None:
    """Print each line of `text` to stderr, prefixed with the program's name."""
    with suppress(OSError, ValueError):
        for line in text.splitlines():
            print(f"bandstand: {line.removeprefix('bandstand: ')}", file=sys.stderr, flush=True)
