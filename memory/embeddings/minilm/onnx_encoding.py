"""Writes ONNX files: the few messages of its protobuf format that a graph of ours needs.

The numbers are those of onnx.proto. Large tensors are not copied: a message is a list of pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tensor: TypeAlias = NDArray[np.float32] | NDArray[np.int64]
    Piece: TypeAlias = bytes | memoryview

_VARINT, _BYTES, _FIXED32 = 0, 2, 5
FLOAT: Final = 1
INT32: Final = 6
INT64: Final = 7
_ELEMENT_TYPES: Final = {"float32": FLOAT, "int64": INT64}
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT = 1, 2
_IR_VERSION: Final = 8


class ProtobufMessage:
    """A protobuf message in pieces."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.size = 0

    def number(self, tag: int, value: int) -> ProtobufMessage:
        """Add a whole number."""
        return self._add(_varint(tag << 3 | _VARINT) + _varint(value))

    def float32(self, tag: int, value: float) -> ProtobufMessage:
        """Add a 32-bit float."""
        return self._add(_varint(tag << 3 | _FIXED32) + np.array(value, "<f4").tobytes())

    def data(self, tag: int, value: str | Piece | ProtobufMessage) -> ProtobufMessage:
        """Add a text, bytes or a message."""
        if isinstance(value, str):
            value = value.encode("utf-8")
        size = value.size if isinstance(value, ProtobufMessage) else len(value)
        self._add(_varint(tag << 3 | _BYTES) + _varint(size))
        if isinstance(value, ProtobufMessage):
            self.pieces += value.pieces
            self.size += value.size
            return self
        return self._add(value)

    def _add(self, piece: Piece) -> ProtobufMessage:
        self.pieces.append(piece)
        self.size += len(piece)
        return self


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


@dataclass
class Graph:
    """A graph in the making: nodes in order, and their constant tensors by name."""

    nodes: list[ProtobufMessage] = field(default_factory=list)
    tensors: dict[str, ProtobufMessage] = field(default_factory=dict)

    def constant(self, name: str, value: Tensor) -> str:
        """Add a constant tensor; return its name."""
        tensor = ProtobufMessage()
        for size in value.shape:
            tensor.number(1, size)
        tensor.number(2, _ELEMENT_TYPES[value.dtype.name]).data(8, name)
        tensor.data(9, np.ascontiguousarray(value).data.cast("B"))
        self.tensors[name] = tensor
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str,
        *,
        domain: str = "",
        attributes: Mapping[str, int | float] | None = None,
        more_outputs: int = 0,
    ) -> str:
        """Add a node; return the name of its first output. An input "" is one that is left out."""
        node = ProtobufMessage()
        for each in inputs:
            node.data(1, each)
        for each in (output, *(f"{output}_{number}" for number in range(1, more_outputs + 1))):
            node.data(2, each)
        node.data(3, output).data(4, operator)
        for name, value in (attributes or {}).items():
            node.data(5, _attribute(name, value))
        if domain:
            node.data(7, domain)
        self.nodes.append(node)
        return output

    def model(
        self,
        inputs: Mapping[str, int],
        outputs: Mapping[str, Sequence[str | int]],
        versions: Mapping[str, int],
        *,
        producer: str,
    ) -> ProtobufMessage:
        """The file: `inputs` by name with the type of their elements, of two dimensions; `outputs` are floats with
        their dimensions; `versions` of the sets of operators."""
        graph = ProtobufMessage()
        for node in self.nodes:
            graph.data(1, node)
        graph.data(2, "graph")
        for tensor in self.tensors.values():
            graph.data(5, tensor)
        for name, element_type in inputs.items():
            graph.data(11, _value(name, element_type, ["batch", "sequence"]))
        for name, shape in outputs.items():
            graph.data(12, _value(name, FLOAT, shape))
        model = ProtobufMessage().number(1, _IR_VERSION).data(2, producer).data(7, graph)
        for domain, version in versions.items():
            model.data(8, ProtobufMessage().data(1, domain).number(2, version))
        return model


def _attribute(name: str, value: float) -> ProtobufMessage:
    attribute = ProtobufMessage().data(1, name)
    if isinstance(value, int):
        return attribute.number(3, value).number(20, _ATTRIBUTE_INT)
    return attribute.float32(2, value).number(20, _ATTRIBUTE_FLOAT)


def _value(name: str, element_type: int, shape: Sequence[str | int]) -> ProtobufMessage:
    dimensions = ProtobufMessage()
    for size in shape:
        dimension = ProtobufMessage()
        dimensions.data(1, dimension.data(2, size) if isinstance(size, str) else dimension.number(1, size))
    tensor_type = ProtobufMessage().number(1, element_type).data(2, dimensions)
    return ProtobufMessage().data(1, name).data(2, ProtobufMessage().data(1, tensor_type))
