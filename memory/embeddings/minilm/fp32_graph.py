"""The model's graph at full precision, built once from its published weights.

It needs half the time of the int8 graph for a text of a few words or of many. It uses the operators that ONNX Runtime
has for BERT, as its own optimiser would make them: attention, layer normalisation and GELU in one each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from foundation.compute_pool.boot import isolated_command
from memory.embeddings.minilm.onnx_encoding import INT32, INT64, Graph, ProtobufMessage
from memory.embeddings.minilm.safetensors_file import read_float_tensors
from memory.embeddings.minilm.weights import BUILT_GRAPH, FP32_WEIGHTS, find_files, is_verified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Weights = Mapping[str, NDArray[np.float32]]

# Of the graph as `build_graph` makes it of the published weights.
GRAPH_SHA256: Final = "ebfd1ddaedd7a5647ea58d2f4ac724f910054333adecee0e1049ac7a47122913"
_FUSED: Final = "com.microsoft"
_OPSET: Final = 17
_NICENESS: Final = 19


@dataclass(frozen=True, slots=True)
class BertShape:
    """What the weights do not say. The defaults are all-MiniLM-L6-v2's."""

    layers: int = 6
    heads: int = 12
    epsilon: float = 1e-12


def build_graph(weights: Weights, shape: BertShape | None = None) -> ProtobufMessage:
    """The ONNX model of a BERT encoder: `input_ids` and `attention_mask` in, `last_hidden_state` out."""
    shape = shape or BertShape()
    graph = Graph()
    graph.node("Cast", ["input_ids"], "ids", attributes={"to": INT32})
    graph.node("Cast", ["attention_mask"], "mask", attributes={"to": INT32})
    hidden = _embed_tokens(graph, weights, shape)
    for number in range(shape.layers):
        hidden = _add_layer(graph, weights, shape, f"encoder.layer.{number}.", hidden)
    graph.node("Identity", [hidden], "last_hidden_state")
    width = weights["embeddings.word_embeddings.weight"].shape[1]
    return graph.model(
        {"input_ids": INT64, "attention_mask": INT64},
        {"last_hidden_state": ["batch", "sequence", width]},
        {"": _OPSET, _FUSED: 1},
        producer="bandstand",
    )


def build_file(models: Path) -> bool:
    """Build the graph in the folder `models`, if an installed package has the weights; return whether it is there."""
    target = models / BUILT_GRAPH
    if is_verified(target, GRAPH_SHA256):
        return True
    weights = find_files([FP32_WEIGHTS]).get(FP32_WEIGHTS)
    if weights is None or not is_verified(weights, FP32_WEIGHTS.sha256):
        return False
    draft = models / f"{BUILT_GRAPH}.{os.getpid()}.draft"
    try:
        with draft.open("wb") as file:
            file.writelines(build_graph(read_float_tensors(weights)).pieces)
            file.flush()
            os.fsync(file.fileno())
        if not is_verified(draft, GRAPH_SHA256):
            return False
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return True


def build_in_background(models: Path) -> None:
    """Have `build_file` run in a process of its own at the lowest priority, if there is something to build."""
    if FP32_WEIGHTS not in find_files([FP32_WEIGHTS]):
        return
    models.mkdir(mode=0o700, exist_ok=True)
    process = subprocess.Popen(  # noqa: S603  # our own words
        isolated_command(f"{__name__}:main", {"models": str(models)}),
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    threading.Thread(target=process.wait, name="graph", daemon=True).start()


def main(*, models: str) -> None:
    """Build the graph in the folder `models`; exits with 1 if it cannot be built."""
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    if not build_file(Path(models)):
        sys.exit(f"embedder: {FP32_WEIGHTS.name} is not what it must be")


def _embed_tokens(graph: Graph, weights: Weights, shape: BertShape) -> str:
    prefix = "embeddings."
    words = graph.constant("words", weights[f"{prefix}word_embeddings.weight"])
    # There is one segment only, so its row is added to every position's.
    segment = weights[f"{prefix}token_type_embeddings.weight"][0]
    positions = graph.constant("positions", weights[f"{prefix}position_embeddings.weight"] + segment)
    scale, shift = _normalisation(graph, weights, f"{prefix}LayerNorm")
    return graph.node(
        "EmbedLayerNormalization",
        ["ids", "", words, positions, "", scale, shift, "mask"],
        "embedded",
        domain=_FUSED,
        attributes={"epsilon": shape.epsilon},
        more_outputs=1,
    )


def _add_layer(graph: Graph, weights: Weights, shape: BertShape, prefix: str, hidden: str) -> str:
    attention = f"{prefix}attention."
    parts = ("query", "key", "value")
    matrix = np.concatenate([weights[f"{attention}self.{part}.weight"].T for part in parts], axis=1)
    bias = np.concatenate([weights[f"{attention}self.{part}.bias"] for part in parts])
    mixed = graph.node(
        "Attention",
        [hidden, graph.constant(f"{prefix}qkv", matrix), graph.constant(f"{prefix}qkv_bias", bias), "mask"],
        f"{prefix}attended",
        domain=_FUSED,
        attributes={"num_heads": shape.heads},
    )
    hidden = _project(graph, weights, f"{attention}output", (mixed, hidden), shape.epsilon)
    wide = _multiply(graph, weights, f"{prefix}intermediate.dense", hidden)
    wide_bias = graph.constant(f"{prefix}wide_bias", weights[f"{prefix}intermediate.dense.bias"])
    active = graph.node("BiasGelu", [wide, wide_bias], f"{prefix}active", domain=_FUSED)
    return _project(graph, weights, f"{prefix}output", (active, hidden), shape.epsilon)


def _project(graph: Graph, weights: Weights, prefix: str, values: tuple[str, str], epsilon: float) -> str:
    """Multiply the first of `values`, add the second, normalise."""
    value, residual = values
    product = _multiply(graph, weights, f"{prefix}.dense", value)
    scale, shift = _normalisation(graph, weights, f"{prefix}.LayerNorm")
    bias = graph.constant(f"{prefix}.bias", weights[f"{prefix}.dense.bias"])
    return graph.node(
        "SkipLayerNormalization",
        [product, residual, scale, shift, bias],
        f"{prefix}.normal",
        domain=_FUSED,
        attributes={"epsilon": epsilon},
    )


def _multiply(graph: Graph, weights: Weights, prefix: str, value: str) -> str:
    matrix = graph.constant(f"{prefix}.matrix", weights[f"{prefix}.weight"].T)
    return graph.node("MatMul", [value, matrix], f"{prefix}.product")


def _normalisation(graph: Graph, weights: Weights, prefix: str) -> tuple[str, str]:
    return (
        graph.constant(f"{prefix}.scale", weights[f"{prefix}.weight"]),
        graph.constant(f"{prefix}.shift", weights[f"{prefix}.bias"]),
    )
