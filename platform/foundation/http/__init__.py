"""An HTTP client with SSRF protection: it connects to the public internet, not to private networks."""

from foundation.http.errors import AddressRefused, Unreachable
from foundation.http.guarded_client import Fetched, GuardedClient
from foundation.http.media_types import decode_text
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
    "decode_text",
    "parse_target",
]
