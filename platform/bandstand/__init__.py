"""Wiring: configuration, settings, URLs, ASGI, embedded database, supervisor, health."""

VERSION = "0.1.0"
