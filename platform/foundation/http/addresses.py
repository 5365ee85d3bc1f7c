"""The IP addresses that requests to untrusted URLs may connect to."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from foundation.http.errors import AddressRefused

# The special-purpose registries of IANA, written out: what `is_global` says differs between patch releases of Python
# (python/cpython#113171), and it calls several translation prefixes global, behind which a private IPv4 address can
# hide.
_CLOSED_V4 = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
# Of IPv6 only 2000::/3 is global unicast; the rest (mapped, NAT64, local, multicast …) is closed as a whole.
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, among them Teredo 2001::/32
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether `address` is an ordinary host on the public internet."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in block for block in _CLOSED_V4)
    return (
        address.is_global
        and address.scope_id is None
        and address in _OPEN_V6
        and not any(address in block for block in _CLOSED_V6)
    )


@lru_cache(maxsize=4096)
def is_public_text(address: str) -> bool:
    """Whether an address, as sockets and resolvers write it, is an ordinary host on the public internet; False for
    what is no address."""
    try:
        return is_public(ip_address(address))
    except ValueError:
        return False


def check_public(address: str) -> None:
    """Raise `AddressRefused` unless `address` is public. The message omits the address, which may be internal."""
    if not is_public_text(address):
        raise AddressRefused("The address is not on the public internet.")
