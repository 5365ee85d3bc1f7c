"""The one error of this package."""


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used; the message is one printable line without secrets."""
