"""What the person at the terminal sees."""

import sys
from contextlib import suppress


def print_line(text: str) -> None:
    """Print a line; a terminal that has gone away is no reason to end."""
    with suppress(OSError, ValueError):
        print(text, flush=True)


def print_error(text: str) -> None:
    """Print each line of `text` to stderr, marked as ours."""
    with suppress(OSError, ValueError):
        for line in text.splitlines():
            print(f"bandstand: {line.removeprefix('bandstand: ')}", file=sys.stderr, flush=True)
