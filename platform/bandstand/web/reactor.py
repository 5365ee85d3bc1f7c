"""Twisted's reactor, on a uvloop. Importing this installs it for the process, so only the web process does."""

from typing import Any, Final

import uvloop
from twisted.internet import asyncioreactor

loop: Final = uvloop.new_event_loop()
asyncioreactor.install(loop)  # type: ignore[no-untyped-call]  # before Daphne, which would install one on a slower loop

from twisted.internet import reactor as installed

reactor: Final[Any] = installed
