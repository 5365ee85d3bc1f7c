"""Guarded HTTP: one factory of clients that reach the public internet and nothing behind our own walls."""

from foundation.http.client import Fetched, GuardedClient
from foundation.http.errors import AddressRefused, Unreachable
from foundation.http.resolver import Resolver, SystemResolver
from foundation.http.target import Target, allowed_origin, parse_target

__all__ = [
    "AddressRefused",
    "Fetched",
    "GuardedClient",
    "Resolver",
    "SystemResolver",
    "Target",
    "Unreachable",
    "allowed_origin",
    "parse_target",
]
