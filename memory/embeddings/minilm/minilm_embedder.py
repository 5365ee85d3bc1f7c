"""The default embedder: all-MiniLM-L6-v2 in the machine's one process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from memory.embeddings.embedder_process.launcher import EmbedderSpec
from memory.embeddings.embedder_process.process_embedder import ProcessEmbedder
from memory.embeddings.minilm.weights import DIMENSIONS, MODEL_NAME

_LOAD: Final = "memory.embeddings.minilm.onnx_model:load_minilm"
MODELS_FOLDER: Final = "models"


def minilm_embedder(data_dir: Path) -> ProcessEmbedder:
    """The embedder of the installation in `data_dir`. Its process is started at first use."""
    spec = EmbedderSpec(data_dir, _LOAD, {"models": str(data_dir / MODELS_FOLDER)})
    return ProcessEmbedder(spec, model=MODEL_NAME, dimensions=DIMENSIONS)
