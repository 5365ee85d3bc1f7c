"""The model itself: texts to tokens, tokens to vectors. Loaded in the embedder's process only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from memory.embeddings.minilm.fp32_graph import GRAPH_SHA256, build_in_background
from memory.embeddings.minilm.weights import (
    BUILT_GRAPH,
    DIMENSIONS,
    INT8_GRAPH,
    MODEL_NAME,
    TOKENIZER,
    WeightsMissing,
    find_files,
    read_verified,
)

# What the model was trained on; of longer texts the beginning counts. Its tokenizer file says 128, and pads to that.
MAX_TOKENS: Final = 256
# More cores make one text hardly faster, and take them from whatever else runs on the machine.
_MAX_THREADS: Final = 4
_ERRORS_ONLY: Final = 3


class OnnxMiniLM:
    """all-MiniLM-L6-v2 on ONNX Runtime. `variant` is the form of the weights: `fp32` or `int8`."""

    name = MODEL_NAME
    dimensions = DIMENSIONS

    def __init__(self, graph: bytes, tokenizer: bytes, *, variant: str) -> None:
        self.variant = variant
        self._tokenizer = Tokenizer.from_str(tokenizer.decode("utf-8"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Memory goes back after each batch, instead of staying at the size of the largest one.
        options.enable_cpu_mem_arena = False
        # Threads that wait for work sleep: the machine has other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._inputs = frozenset(each.name for each in self._session.get_inputs())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each of `texts`, 256 at most."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def embed(self, tokens: Sequence[Sequence[int]]) -> list[bytes]:
        """One vector of length 1 for each sequence of tokens, as 32-bit floats in little-endian order."""
        length = max(map(len, tokens))
        ids = np.zeros((len(tokens), length), np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(None, {name: value for name, value in feeds.items() if name in self._inputs})
        # The mean over the tokens; dividing by their number would change nothing, since the length becomes 1.
        sums = (states * mask[:, :, np.newaxis]).sum(axis=1)
        vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return [vector.tobytes() for vector in np.ascontiguousarray(vectors, dtype="<f4")]


def load_minilm(models: str) -> OnnxMiniLM:
    """The model: its fp32 graph if that was built in the folder `models`, else the int8 one of a package.

    Where the weights for the fp32 graph are installed, it is being built then, for the next start. Raises
    `WeightsMissing`.
    """
    files = find_files([TOKENIZER, INT8_GRAPH])
    if TOKENIZER not in files:
        raise WeightsMissing(f"{TOKENIZER.name} of the embedding model is in no installed package")
    tokenizer = read_verified(files[TOKENIZER], TOKENIZER.sha256)
    built = Path(models) / BUILT_GRAPH
    if built.is_file():
        try:
            return OnnxMiniLM(read_verified(built, GRAPH_SHA256), tokenizer, variant="fp32")
        except WeightsMissing:
            built.unlink(missing_ok=True)  # of another version, or damaged; it is built anew
    build_in_background(Path(models))
    if INT8_GRAPH not in files:
        raise WeightsMissing(f"{INT8_GRAPH.name} of the embedding model is in no installed package")
    return OnnxMiniLM(read_verified(files[INT8_GRAPH], INT8_GRAPH.sha256), tokenizer, variant="int8")
