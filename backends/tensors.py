"""Named, typed arrays as the Open Inference Protocol knows them, kept as raw little-endian bytes until someone looks."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from backends.errors import invalid

Array = npt.NDArray[Any]
Rows = Sequence[int] | npt.NDArray[np.intp]

# Open Inference Protocol v2, "Tensor Data Types", plus BF16 of Triton's superset. BF16 has no numpy type: its view is uint16.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
BYTES = "BYTES"  # elements of 4-byte little-endian length and that many bytes
DATATYPES = frozenset(DTYPES) | {BYTES}
MAX_DIMS = 16
MAX_DIM = 2**63 - 1  # backends count in 64 bits
_LENGTH = struct.Struct("<I")


def elements(shape: Sequence[int], name: str) -> int:
    """How many elements a shape holds. Python's integers cannot overflow, so a lying shape cannot wrap round."""
    if len(shape) > MAX_DIMS:
        raise invalid(f"input '{name}' has {len(shape)} dimensions; at most {MAX_DIMS} are accepted", "shape")
    count = 1
    for dim in shape:
        if dim < 0:
            raise invalid(f"input '{name}' has a negative dimension in shape {list(shape)}", "shape")
        if dim > MAX_DIM:
            raise invalid(f"input '{name}' has a dimension of more than 63 bits", "shape")
        count *= dim
    return count


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """One named array. `data` holds raw little-endian elements in row-major order (BYTES: length-prefixed)."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview

    def array(self) -> Array:
        """A numpy view (BYTES: an object array of `bytes`), shaped."""
        if self.datatype == BYTES:
            flat = np.empty(elements(self.shape, self.name), dtype=object)
            flat[:] = unpack_bytes(self.data, self.name)
            return flat.reshape(self.shape)
        return np.frombuffer(self.data, dtype=DTYPES[self.datatype]).reshape(self.shape)

    @property
    def rows(self) -> int | None:
        """The leading dimension, or None for a scalar."""
        return self.shape[0] if self.shape else None


def check(tensor: Tensor) -> Tensor:
    """The tensor itself if its data is exactly what datatype and shape promise; else INVALID, saying what was expected."""
    if tensor.datatype not in DATATYPES:
        raise invalid(
            f"input '{tensor.name}' has unknown datatype '{tensor.datatype[:16]}'; use one of {', '.join(sorted(DATATYPES))}",
            "datatype",
        )
    count = elements(tensor.shape, tensor.name)
    if tensor.datatype == BYTES:
        found = len(unpack_bytes(tensor.data, tensor.name, limit=count))
        if found != count:
            raise invalid(f"input '{tensor.name}' has {found} BYTES elements, its shape {list(tensor.shape)} {count}", "shape")
        return tensor
    expected = count * DTYPES[tensor.datatype].itemsize
    if len(tensor.data) != expected:
        raise invalid(
            f"input '{tensor.name}' has {len(tensor.data)} bytes; {tensor.datatype} {list(tensor.shape)} needs {expected}",
            "shape",
        )
    return tensor


def pack_bytes(values: Iterable[bytes]) -> bytes:
    """Elements as one BYTES buffer."""
    return b"".join(part for value in values for part in (_LENGTH.pack(len(value)), value))


def unpack_bytes(data: bytes | memoryview, name: str, limit: int | None = None) -> list[bytes]:
    """The elements of a BYTES buffer; one that runs past the end, or one more than `limit`, is refused."""
    view = memoryview(data)
    end, at, values = len(view), 0, list[bytes]()
    while at < end:
        if at + 4 > end:
            raise invalid(f"input '{name}': a BYTES element's length is cut off at byte {at}", "bytes")
        (size,) = _LENGTH.unpack_from(view, at)
        at += 4
        if at + size > end:
            raise invalid(f"input '{name}': a BYTES element of {size} bytes runs past the end of its data", "bytes")
        if limit is not None and len(values) == limit:
            raise invalid(f"input '{name}' has more BYTES elements than the {limit} its shape promises", "shape")
        values.append(bytes(view[at : at + size]))
        at += size
    return values


def from_array(name: str, datatype: str, array: Array) -> Tensor:
    """A tensor holding a copy of the array's elements."""
    if datatype == BYTES:
        return Tensor(name, BYTES, array.shape, pack_bytes(array.ravel()))
    return Tensor(name, datatype, array.shape, np.ascontiguousarray(array, dtype=DTYPES[datatype]).tobytes())


def take(tensor: Tensor, rows: Rows) -> Tensor:
    """The tensor of the given rows of the leading dimension, in that order."""
    shape = (len(rows), *tensor.shape[1:])
    if tensor.datatype == BYTES:
        parts = row_parts(tensor)
        return Tensor(tensor.name, BYTES, shape, b"".join([parts[row] for row in rows]))
    if not tensor.data:
        return Tensor(tensor.name, tensor.datatype, shape, b"")
    return Tensor(tensor.name, tensor.datatype, shape, _rows(tensor)[np.asarray(rows, np.intp)].tobytes())


def scatter(onto: Tensor, rows: Rows, update: Tensor) -> Tensor:
    """`onto` with the given rows replaced by the rows of `update`, bit for bit; both must agree in datatype and row shape."""
    if onto.datatype != update.datatype or onto.shape[1:] != update.shape[1:] or update.rows != len(rows):
        found, wanted = f"{update.datatype} {list(update.shape)}", f"{onto.datatype} {list(onto.shape)}"
        raise ValueError(f"output '{onto.name}': {found} does not fit {len(rows)} rows of {wanted}")
    if onto.datatype == BYTES:
        parts = row_parts(onto)
        for row, part in zip(rows, row_parts(update), strict=True):
            parts[row] = part
        return Tensor(onto.name, BYTES, onto.shape, b"".join(parts))
    if not update.data:
        return onto
    merged = _rows(onto).copy()
    merged[np.asarray(rows, np.intp)] = _rows(update)
    return Tensor(onto.name, onto.datatype, onto.shape, merged.tobytes())


def _rows(tensor: Tensor) -> Array:
    """Each row of the leading dimension as one element without a meaning: numpy moves it whole. Of a tensor that is not empty."""
    return np.frombuffer(tensor.data, _row_of(len(tensor.data) // tensor.shape[0]))


@lru_cache(maxsize=256)
def _row_of(size: int) -> np.dtype[Any]:
    return np.dtype((np.void, size))


def row_parts(tensor: Tensor) -> list[bytes | memoryview]:
    """The bytes of each row of the leading dimension, in order; nothing is copied but BYTES. Joined they are the tensor's own."""
    rows = tensor.shape[0]
    if tensor.datatype == BYTES:
        values = unpack_bytes(tensor.data, tensor.name)
        each = len(values) // rows if rows else 0
        return [pack_bytes(values[row * each : (row + 1) * each]) for row in range(rows)]
    view = memoryview(tensor.data)
    size = len(view) // rows if rows else 0
    return [view[row * size : (row + 1) * size] for row in range(rows)]


def of_rows(name: str, datatype: str, shape: tuple[int, ...], rows: Sequence[bytes | memoryview]) -> Tensor:
    """The tensor of these rows' bytes, each of `shape`; they are copied."""
    return Tensor(name, datatype, (len(rows), *shape), b"".join(rows))
