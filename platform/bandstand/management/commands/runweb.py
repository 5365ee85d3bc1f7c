"""`manage.py runweb`: one web process."""

import faulthandler
import gc
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Serve the REST API, websockets, pages and the admin on HOST and PORT, until SIGTERM."
    requires_system_checks = []  # `prepare` runs them before a start

    def handle(self, *_args: Any, **_options: Any) -> None:
        # After the server module: it must be the first to touch Twisted.
        from bandstand.asgi import application
        from bandstand.web.lifecycle import lifecycle
        from bandstand.web.listen_sockets import AddressError, inherited_socket, listening_socket
        from bandstand.web.server import WebServer

        config = settings.BANDSTAND
        try:
            listener = inherited_socket() or listening_socket(config.host, config.port)
        except AddressError as error:
            raise CommandError(str(error)) from None
        # Excludes the loaded modules from garbage collection, whose full runs would take 40 ms for them.
        gc.freeze()
        # Where each thread stands, into the log, when somebody asks: the supervisor does before it kills a silent one.
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        WebServer(application, listener, lifecycle).run()
