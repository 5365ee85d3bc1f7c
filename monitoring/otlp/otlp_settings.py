"""What the environment says of the receiver of traces. Imports nothing that takes long: each process reads it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote

HOW_TO_INSTALL: Final = "start with `make run OTLP=1`, or install requirements-otlp.lock"


def read_headers(text: str) -> dict[str, str]:
    """Headers as OpenTelemetry writes them: `name=value,name=value`, percent-encoded. Raises `ValueError`."""
    headers: dict[str, str] = {}
    for pair in text.split(","):
        if not pair.strip():
            continue
        name, separator, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not separator or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ValueError("must read name=value,name=value")
        if not value.isprintable():
            raise ValueError("must not hold control characters")
        headers[name] = value
    return headers


def is_installed() -> bool:
    """Whether the package of OTLP's messages is installed. Imports nothing of it."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False  # nothing of OpenTelemetry is
