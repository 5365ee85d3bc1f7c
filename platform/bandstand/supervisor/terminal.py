"""Output on the terminal. What a stranger got into a log is shown, not obeyed."""

import sys
from contextlib import suppress

from foundation.control_characters import escape_controls


def print_line(text: str) -> None:
    """Print `text`, of one line or several; errors of a closed terminal are ignored."""
    with suppress(OSError, ValueError):
        print(escape_controls(text, keep_lines=True), flush=True)


def print_error(text: str) -> None:
    """Print each line of `text` to stderr, prefixed with the program's name."""
    with suppress(OSError, ValueError):
        for line in text.rstrip("\n").split("\n"):
            shown = escape_controls(line.rstrip("\r").removeprefix("bandstand: "))
            print(f"bandstand: {shown}", file=sys.stderr, flush=True)
