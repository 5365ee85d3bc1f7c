"""The embedder's folder in the data directory: its socket, its lock, its record. Nobody else may enter it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from memory.embeddings.embedder_process.wire import FOLDER, SOCKET

# The kernel takes 107 bytes.
_MAX_ADDRESS_BYTES: Final = 100


def embedder_folder(data_dir: Path) -> Path:
    """Where the embedder of the installation in `data_dir` has its files."""
    return data_dir / "run" / FOLDER


def make_private(folder: Path) -> None:
    """Make `folder`, for this account alone. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another account")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


@contextmanager
def socket_address(folder: Path) -> Iterator[str]:
    """The address of the socket in `folder`, however long its path is. Raises `OSError`."""
    address = str(folder / SOCKET)
    if len(os.fsencode(address)) <= _MAX_ADDRESS_BYTES:
        yield address
        return
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def connect(folder: Path, seconds: float) -> socket.socket:
    """A connection to the embedder. Raises `OSError` if there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        with socket_address(folder) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection
