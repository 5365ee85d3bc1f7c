"""The supervisor behind `make run`: starts, monitors and stops all processes of an installation."""

import asyncio

from bandstand import config as configuration


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    from bandstand.supervisor.supervisor import Installation

    return asyncio.run(Installation(configuration.load_or_exit()).run())
