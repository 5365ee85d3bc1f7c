"""Checks of the embedding model: it is there, it is what it must be, and it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings

from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements
from memory.embeddings.choice import configured_embedder
from memory.embeddings.embedder_process.launcher import read_fault
from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder
from memory.embeddings.embedding_settings import EmbedderKind
from memory.embeddings.interface import EmbeddingUnavailable
from memory.embeddings.minilm.minilm_embedder import has_built_graph
from memory.embeddings.minilm.weights import INT8_GRAPH, TOKENIZER, ModelFile, find_files, is_verified

# The overview has a second or two for all of its checks.
ANSWER_SECONDS: Final = 0.5
_FILES: Final = (TOKENIZER, INT8_GRAPH)
_INSTALL: Final = "Install the locked packages anew (`make run` does), or set BANDSTAND_EMBEDDINGS to a server's model."
_BY_TEXT: Final = "memories are searched by their text alone"


@dataclass(frozen=True, slots=True)
class EmbeddingState:
    """`missing` and `altered`: packages whose file is not there, or not what it must be. `fault`: why the process could
    not start the last time. `is_silent`: it runs, and does not answer."""

    missing: Sequence[str] = ()
    altered: Sequence[str] = ()
    fault: str = ""
    is_silent: bool = False


def embedding_state(measurements: Measurements) -> EmbeddingState:  # noqa: ARG001
    """The state of this machine's embedding model. Of a server's model nothing is asked: each question costs."""
    if settings.BANDSTAND.embeddings.kind is not EmbedderKind.MINILM:
        return EmbeddingState()
    embedder = configured_embedder()
    paths = _installed_files()
    needed = (TOKENIZER,) if has_built_graph(settings.BANDSTAND.data_dir) else _FILES
    missing = tuple(file.package for file in needed if file not in paths)
    altered = tuple(file.package for file, path in paths.items() if not _is_unaltered(path, file.sha256))
    if missing or altered or not isinstance(embedder, ProcessEmbedder):
        return EmbeddingState(missing, altered)
    try:
        embedder.status(timeout=ANSWER_SECONDS)
    except EmbeddingUnavailable:
        return EmbeddingState(is_silent=True)
    return EmbeddingState(fault=read_fault(embedder.folder))


def evaluate_embeddings(state: EmbeddingState) -> Sequence[Finding]:
    if state.altered:
        names = ", ".join(state.altered)
        return [Finding(Level.BAD, f"Files of the embedding model are not what they must be ({names}); {_BY_TEXT}")]
    if state.missing:
        names = ", ".join(state.missing)
        return [Finding(Level.WARN, f"The embedding model is not installed ({names}); {_BY_TEXT}")]
    if state.fault:
        return [Finding(Level.WARN, f"The embedding model cannot be loaded ({state.fault}); {_BY_TEXT}")]
    if state.is_silent:
        remedy = "It is ended and started anew by whoever asks it next; var/logs/embedder.log says more."
        return [Finding(Level.WARN, f"The embedding model does not answer; {_BY_TEXT}", remedy=remedy)]
    return []


def _installed_files() -> dict[ModelFile, Path]:
    """What is installed does not change while this process runs; what is missing may be installed."""
    paths = _find_files()
    if len(paths) < len(_FILES):
        _find_files.cache_clear()
    return paths


@lru_cache(maxsize=1)
def _find_files() -> dict[ModelFile, Path]:
    return find_files(_FILES)


def _is_unaltered(path: Path, sha256: str) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return _has_hash(path, sha256, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _has_hash(path: Path, sha256: str, _changed_at: int, _size: int) -> bool:
    return is_verified(path, sha256)


CHECKS: Final = (
    Check(
        name="embeddings",
        title="Embedding model",
        measure=embedding_state,
        evaluator=evaluate_embeddings,
        alarms_when="an embedding model that is not installed, is altered, or does not answer",
        remedy=_INSTALL,
        readers=frozenset({Reader.OVERVIEW}),
        order=80,
        # Its job says how many vectors it has made, or why it could not.
        link=Link("admin:scheduling_jobrun_changelist", query={"job": "embed memories"}),
        permissions=("scheduling.view_jobrun",),
    ),
)
