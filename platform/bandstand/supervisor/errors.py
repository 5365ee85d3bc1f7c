"""The one error of this package."""


class CannotStart(Exception):
    """The installation cannot start; the message is one or more printable lines without secrets."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
