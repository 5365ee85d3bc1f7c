"""Errors of guarded HTTP requests."""

from __future__ import annotations

from foundation.errors import InvalidInput, Unavailable


class AddressRefused(InvalidInput):
    """This address is not allowed."""

    code = "address_refused"


class Unreachable(Unavailable):
    """The address did not answer."""

    code = "unreachable"
