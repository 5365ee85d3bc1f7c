"""Listening sockets: several for one port, so that the kernel spreads connections evenly over the web processes."""

import errno
import os
import socket

FD_VARIABLE = "LISTEN_SOCKET_FD"
BACKLOG = 1024
# A client that is gone without a word (its battery is empty, a router forgot it) is given up after a minute: nobody
# answers our probes, nor takes what we sent. Left to the system, a stream to nobody is kept for a quarter of an hour.
SILENCE = {
    socket.TCP_KEEPIDLE: 30,  # seconds
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60_000,  # milliseconds
}


class AddressError(Exception):
    """The address cannot be listened on; the message is one printable line."""


def check_free(host: str, port: int) -> None:
    """Raise AddressError unless nobody listens on the port: sockets that share it would hide another server."""
    with _bound(host, port, shared=False) as probe:
        _listen(probe, host, port)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens and may share its port with others of this user. Raises AddressError."""
    server = _bound(host, port, shared=True)
    # Connections inherit these.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in SILENCE.items():
        server.setsockopt(socket.IPPROTO_TCP, option, value)
    _listen(server, host, port)
    server.setblocking(False)
    return server


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    host = host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = socket.socket(family, kind, protocol)
    except OSError:
        raise AddressError(f"HOST: {host} is not an address of this machine") from None
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(address)
    except OSError as error:
        server.close()
        raise _explained(error, host, port) from None
    return server


def _listen(server: socket.socket, host: str, port: int) -> None:
    try:
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        raise _explained(error, host, port) from None


def _explained(error: OSError, host: str, port: int) -> AddressError:
    if error.errno == errno.EADDRINUSE:
        return AddressError(f"PORT: another program listens on {host}:{port}; set PORT to a free one")
    if error.errno == errno.EACCES:
        return AddressError(f"PORT: this user may not listen on port {port}; set PORT to one above 1023")
    return AddressError(f"HOST: {host}:{port} cannot be listened on ({error.strerror})")


def inherited_socket() -> socket.socket | None:
    """The listening socket that the supervisor made for this process, if it did."""
    number = os.environ.pop(FD_VARIABLE, "")
    return socket.socket(fileno=int(number)) if number else None
