"""Reads tensors of a safetensors file: the length of its header, the header as JSON, then the numbers."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PREFIX_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 1024 * 1024
_FLOAT_BYTES: Final = 4


def read_float_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The 32-bit float tensors of the file by name; others are passed over. They are views of the file, not copies.

    Raises `ValueError` for a file that is none, and `OSError`.
    """
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    length = int.from_bytes(data[:_PREFIX_BYTES], "little")
    if length > min(_MAX_HEADER_BYTES, len(data) - _PREFIX_BYTES):
        raise ValueError(f"{path} is no safetensors file")
    header = json.loads(bytes(data[_PREFIX_BYTES : _PREFIX_BYTES + length]))
    numbers = data[_PREFIX_BYTES + length :]
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= len(numbers) or end - start != math.prod(entry["shape"]) * _FLOAT_BYTES:
            raise ValueError(f"{path} is damaged: {name}")
        tensors[name] = np.frombuffer(numbers[start:end], "<f4").reshape(entry["shape"])
    return tensors
