"""The default embedder: all-MiniLM-L6-v2 in the machine's one process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from memory.embeddings.embedder_process.launcher import EmbedderSpec
from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder
from memory.embeddings.minilm.weights import BUILT_GRAPH, DIMENSIONS, MODEL_NAME

_LOAD: Final = "memory.embeddings.minilm.onnx_model:load_minilm"
MODELS_FOLDER: Final = "models"


def minilm_spec(data_dir: Path) -> EmbedderSpec:
    """The process with the model, of the installation in `data_dir`."""
    return EmbedderSpec(data_dir, _LOAD, {"models": str(data_dir / MODELS_FOLDER)})


def has_built_graph(data_dir: Path) -> bool:
    """Whether the installation has built the graph at full precision."""
    return (data_dir / MODELS_FOLDER / BUILT_GRAPH).is_file()


def minilm_embedder(data_dir: Path) -> ProcessEmbedder:
    """The embedder of the installation in `data_dir`. Its process is started at first use."""
    return ProcessEmbedder(minilm_spec(data_dir), model=MODEL_NAME, dimensions=DIMENSIONS)
