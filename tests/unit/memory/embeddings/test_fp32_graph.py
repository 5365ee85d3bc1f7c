"""The graph that is built from weights calculates what a BERT encoder is: checked against the formulas, in numpy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from memory.embeddings.minilm.fp32_graph import BertShape, build_graph
from memory.embeddings.minilm.safetensors_file import read_float_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

WIDTH, WIDE, WORDS, POSITIONS = 16, 32, 50, 12
SHAPE = BertShape(layers=2, heads=4, epsilon=1e-12)


def small_weights() -> dict[str, Array]:
    random = np.random.default_rng(7)

    def dense(rows: int, columns: int) -> Array:
        return random.normal(0, 0.3, (rows, columns)).astype(np.float32)

    def linear(prefix: str, rows: int, columns: int) -> dict[str, Array]:
        return {f"{prefix}.weight": dense(rows, columns), f"{prefix}.bias": dense(1, rows)[0]}

    def norm(prefix: str) -> dict[str, Array]:
        return {f"{prefix}.weight": 1 + dense(1, WIDTH)[0], f"{prefix}.bias": dense(1, WIDTH)[0]}

    weights = {
        "embeddings.word_embeddings.weight": dense(WORDS, WIDTH),
        "embeddings.position_embeddings.weight": dense(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": dense(2, WIDTH),
        **norm("embeddings.LayerNorm"),
    }
    for number in range(SHAPE.layers):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            weights |= linear(f"{layer}.attention.self.{part}", WIDTH, WIDTH)
        weights |= linear(f"{layer}.attention.output.dense", WIDTH, WIDTH)
        weights |= linear(f"{layer}.intermediate.dense", WIDE, WIDTH) | linear(f"{layer}.output.dense", WIDTH, WIDE)
        weights |= norm(f"{layer}.attention.output.LayerNorm") | norm(f"{layer}.output.LayerNorm")
    return weights


class Reference:
    """The encoder by its formulas, one text at a time."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights

    def linear(self, prefix: str, x: Array) -> Array:
        return x @ self.weights[f"{prefix}.weight"].T + self.weights[f"{prefix}.bias"]

    def norm(self, prefix: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + SHAPE.epsilon)
        result: Array = scaled * self.weights[f"{prefix}.weight"] + self.weights[f"{prefix}.bias"]
        return result

    def attention(self, prefix: str, x: Array) -> Array:
        size = WIDTH // SHAPE.heads
        query, key, value = (self.linear(f"{prefix}.{part}", x) for part in ("query", "key", "value"))
        heads = []
        for start in range(0, WIDTH, size):
            scores = query[:, start : start + size] @ key[:, start : start + size].T / math.sqrt(size)
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(shares / shares.sum(-1, keepdims=True) @ value[:, start : start + size])
        return np.concatenate(heads, -1)

    def encode(self, ids: list[int]) -> Array:
        embeddings = "embeddings"
        x = self.weights[f"{embeddings}.word_embeddings.weight"][ids]
        x = x + self.weights[f"{embeddings}.position_embeddings.weight"][: len(ids)]
        x = x + self.weights[f"{embeddings}.token_type_embeddings.weight"][0]
        x = self.norm(f"{embeddings}.LayerNorm", x)
        for number in range(SHAPE.layers):
            layer = f"encoder.layer.{number}"
            mixed = self.linear(f"{layer}.attention.output.dense", self.attention(f"{layer}.attention.self", x))
            x = self.norm(f"{layer}.attention.output.LayerNorm", mixed + x)
            wide = self.linear(f"{layer}.intermediate.dense", x)
            active = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)).astype(np.float32))
            x = self.norm(f"{layer}.output.LayerNorm", self.linear(f"{layer}.output.dense", active) + x)
        return x


def test_the_graph_is_the_encoder() -> None:
    import onnxruntime

    weights = small_weights()
    session = onnxruntime.InferenceSession(
        b"".join(build_graph(weights, SHAPE).pieces), providers=["CPUExecutionProvider"]
    )
    texts = [[1, 7, 3, 20, 2], [4, 5]]
    ids = np.array([texts[0], [*texts[1], 0, 0, 0]])
    mask = np.array([[1] * 5, [1, 1, 0, 0, 0]])
    [states] = session.run(None, {"input_ids": ids, "attention_mask": mask})
    for text, state in zip(texts, states, strict=True):
        assert np.allclose(state[: len(text)], Reference(weights).encode(text), atol=1e-4)


def test_the_same_weights_give_the_same_file() -> None:
    assert build_graph(small_weights(), SHAPE).pieces == build_graph(small_weights(), SHAPE).pieces


def write_safetensors(path: Path, header: object, numbers: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


def test_tensors_are_read_by_name(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "b": {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]},
    }
    numbers = np.array([1.5, 2.5], "<f4").tobytes() + bytes(8)
    tensors = read_float_tensors(write_safetensors(tmp_path / "x", header, numbers))
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"a": [[1.5], [2.5]]}


@pytest.mark.parametrize("offsets", [[0, 12], [8, 0], [-4, 4], [4, 8]])
def test_damaged_tensors_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": offsets}}
    with pytest.raises(ValueError, match="damaged"):
        read_float_tensors(write_safetensors(tmp_path / "x", header, bytes(8)))


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "x").write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="no safetensors"):
        read_float_tensors(path)
