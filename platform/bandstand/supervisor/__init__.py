"""`make run`: the whole installation on this machine, under one process that starts, watches and ends it."""

import asyncio

from bandstand import config as configuration


def main() -> int:
    """Run until a signal says otherwise; the exit status."""
    from bandstand.supervisor.supervisor import Installation

    return asyncio.run(Installation(configuration.load_or_exit()).run())
