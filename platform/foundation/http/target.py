"""The strict parser of untrusted URLs. It rejects everything that is ambiguous."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from yarl import URL

from foundation.http.errors import AddressRefused

MAX_LENGTH = 4096
PUBLIC_PORTS = frozenset({80, 443, 8000, 8080, 8443})
_DEFAULT_PORTS = {"http": 80, "https": 443}

# No user part, no escapes in the host, ASCII hosts only (international names as `xn--`), no white space, control
# characters or backslashes: parsers disagree about these.
_SHAPE = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<rest>[/?#][^\s\\\x00-\x1f\x7f-\x9f\ud800-\udfff]*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Target:
    """An address in canonical form. `host` is lower case; an IPv6 address is without brackets."""

    scheme: str
    host: str
    port: int
    url: URL
    is_literal: bool

    @property
    def origin(self) -> str:
        """`host:port`, as lists of allowed hosts name it."""
        return parse_origin(self.host, self.port)


def parse_origin(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_target(address: str) -> Target:
    """Read an absolute http(s) address; the fragment is dropped. Raises `AddressRefused`."""
    match = _SHAPE.fullmatch(address) if len(address) <= MAX_LENGTH else None
    if match is None:
        raise AddressRefused("Not a plain http or https address.")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if port > 65535:
        raise AddressRefused("There is no such port.")
    host, is_literal = _canonical_host(host)
    url = URL(f"{scheme}://{parse_origin(host, port)}{(match['rest'] or '').partition('#')[0] or '/'}")
    # The client parses the URL with yarl: both parsers must agree.
    if (url.scheme, url.raw_host, url.port, url.raw_user) != (scheme, host, port, None):
        raise AddressRefused("The address can be read in two ways.")
    return Target(scheme, host, port, url, is_literal)


def allowed_origin(address: str) -> str:
    """`host:port` of a URL from the configuration, for a list of allowed hosts. Raises `AddressRefused`."""
    return parse_target(address).origin


def _canonical_host(host: str) -> tuple[str, bool]:
    """The host and whether it is an IP address. Octal, hexadecimal, short and whole-number forms are refused."""
    try:
        if host.startswith("["):
            literal = host[1:-1]
            address = IPv6Address(literal)
            # A mapped IPv4 address is plain without its mapping, and newer Pythons write it in another way.
            if address.ipv4_mapped is not None or str(address) != literal:
                raise AddressRefused("The IPv6 address is not in its canonical form.")
            return literal, True
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            if str(IPv4Address(host)) != host:
                raise AddressRefused("The IPv4 address is not in its canonical form.")
            return host, True
    except AddressValueError:
        raise AddressRefused("The host is not in its canonical form.") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise AddressRefused("The host is not a valid name.")
    return host, False
