"""What questions and answers of the Open Inference Protocol's HTTP form have in common: a JSON head, then raw tensors behind it.

Sources: Open Inference Protocol v2 REST; Triton's "Binary Tensor Data Extension" and "Classification Extension".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from backends.errors import invalid
from backends.inference import NO_PARAMETERS, Parameter, Parameters, TensorSpec
from backends.parameters import refuse_shared_memory
from backends.tensors import BYTES, DATATYPES, DTYPES, elements

LENGTH_HEADER = "inference-header-content-length"
BINARY = "application/octet-stream"
JSON = "application/json"
REMEMBERED_BYTES = 2048
"""Who sends tensors in binary repeats the same short head for the same shapes: looking it up costs 0.3 µs in place of 8."""

encode = msgspec.json.Encoder().encode


class WireTensor(msgspec.Struct, frozen=True):
    """A tensor as the JSON writes it: its elements in `data`, or `binary_data_size` in `parameters` and the bytes behind."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Parameter] | None = None
    data: msgspec.Raw = msgspec.Raw()

    @property
    def inline(self) -> bool:
        """Whether there is `data`."""
        return bool(len(memoryview(self.data)))


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A message on the wire: body parts in order and the length of the JSON head (None: the body is JSON throughout)."""

    parts: tuple[bytes | memoryview, ...]
    head: int | None

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that describe the body."""
        if self.head is None:
            return (("content-type", JSON),)
        return (("content-type", BINARY), (LENGTH_HEADER, str(self.head)))


def head_length(length: str | None, size: int) -> int | None:
    """The Inference-Header-Content-Length of a body of `size` bytes; None where there is none. Raises INVALID."""
    if length is None:
        return None
    if not length.isascii() or not length.isdigit() or len(length) > 10:
        raise invalid("Inference-Header-Content-Length is not a whole number of bytes", "head-length")
    head = int(length)
    if not 0 < head <= size:
        raise invalid(
            f"Inference-Header-Content-Length is {head} of {size} bytes: give the JSON head's own length",
            "head-length",
        )
    return head


def specs(tensors: Sequence[WireTensor]) -> tuple[tuple[TensorSpec, ...], tuple[int | None, ...]]:
    """The tensors as specs, and how many bytes each claims to have behind the JSON. Raises INVALID for what cannot hold."""
    found, names, claimed = [], set(), []
    for tensor in tensors:
        if tensor.name in names:
            raise invalid(f"input '{tensor.name[:64]}' is given twice", "inputs")
        names.add(tensor.name)
        claimed.append(_claim(tensor))
        found.append(TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape), tensor.parameters or {}))
    return tuple(found), tuple(claimed)


def _claim(tensor: WireTensor) -> int | None:
    """How many bytes behind the head this tensor says are its own, checked where the datatype fixes the size; None: `data`."""
    parameters = tensor.parameters or {}
    refuse_shared_memory(parameters, f"input '{tensor.name[:64]}'")
    if tensor.datatype not in DATATYPES:
        known = ", ".join(sorted(DATATYPES))
        raise invalid(f"input '{tensor.name[:64]}' has unknown datatype '{tensor.datatype[:16]}': use one of {known}", "datatype")
    count = elements(tensor.shape, tensor.name)
    size = parameters.get("binary_data_size")
    if size is None:
        if not tensor.inline:
            raise invalid(f"input '{tensor.name}' has neither 'data' nor 'binary_data_size'", "inputs")
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise invalid(f"input '{tensor.name}': binary_data_size is not a whole number of bytes", "binary-size")
    if tensor.inline:
        raise invalid(f"input '{tensor.name}' has both 'data' and 'binary_data_size': give one", "inputs")
    if tensor.datatype != BYTES and size != count * DTYPES[tensor.datatype].itemsize:
        expected = count * DTYPES[tensor.datatype].itemsize
        raise invalid(f"input '{tensor.name}' claims {size} bytes; {tensor.datatype} {tensor.shape} needs {expected}", "shape")
    return size


def binary_entry(
    name: str, datatype: str, shape: Sequence[int], size: int, parameters: Parameters = NO_PARAMETERS
) -> dict[str, Any]:
    """The JSON of a tensor of `size` bytes behind the head."""
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {**parameters, "binary_data_size": size}}


def error_body(message: str) -> bytes:
    """The protocol's error object."""
    return encode({"error": message})


def error_text(body: bytes) -> str:
    """The text of a backend's error object, or nothing if it is none."""
    try:
        found: Mapping[str, Any] = msgspec.json.decode(body)
        return str(found["error"])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, KeyError, TypeError):
        return ""
