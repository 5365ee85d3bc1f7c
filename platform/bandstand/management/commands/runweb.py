"""`manage.py runweb`: one web process."""

import gc
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Serve the REST API, websockets, pages and the admin on HOST and PORT, until SIGTERM."
    requires_system_checks = []  # the checks of a start are made by `prepare`

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
        # What was loaded until now stays for good; each full round of the collector would walk it for 40 ms.
        gc.freeze()
        WebServer(application, listener, lifecycle).run()
