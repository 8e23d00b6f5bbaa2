"""The gateway changes nothing: what it answers is what Triton answers directly, bit for bit, for every datatype and form."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from backends.tensors import DTYPES, pack_bytes
from tests.conformance.wire import FORMS, IN_JSON, Answered, Sent, Tensors, address
from tests.real_parts import GatewayProcess, Triton

pytestmark = pytest.mark.slow

CASES = 60
MAX_BATCH = 64
# Bits that arithmetic, a detour through text or another width would change: NaNs with payloads, signalling ones too, infinities,
# negative zero, the smallest denormal.
ODD_BITS = {
    "FP16": (0x7E01, 0x7D55, 0xFE00, 0x7C00, 0xFC00, 0x8000, 0x0001),
    "BF16": (0x7FC1, 0x7FA5, 0xFFC0, 0x7F80, 0xFF80, 0x8000, 0x0001),
    "FP32": (0x7FC00001, 0x7FA55555, 0xFFC00000, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001),
    "FP64": (0x7FF8000000000001, 0x7FF5555555555555, 0xFFF8 << 48, 0x7FF0 << 48, 0xFFF0 << 48, 1 << 63, 1),
}
WIDTHS = {2: "<H", 4: "<I", 8: "<Q"}
ODD_TEXTS = (b"", b"\0", b"a\0b", "zażółć → 水".encode(), b'"\\/\b\n', b"x" * 70_000)


def elements(chance: random.Random, datatype: str, count: int, carried_by_json: bool) -> bytes:
    """Random elements, odd ones among them as far as the form can carry them."""
    if datatype == "BYTES":
        return pack_bytes(texts(chance, count, carried_by_json))
    size = DTYPES[datatype].itemsize
    if datatype == "BOOL":
        return bytes(chance.choices((0, 1), k=count))
    raw = bytearray(chance.randbytes(count * size))
    for index in range(count):
        if datatype in ODD_BITS and chance.random() < 0.3:
            raw[index * size : index * size + size] = struct.pack(WIDTHS[size], chance.choice(ODD_BITS[datatype]))
        elif chance.random() < 0.2:
            raw[index * size : index * size + size] = chance.choice((b"\0", b"\xff")) * size
    if carried_by_json and datatype in ODD_BITS:
        values = np.frombuffer(raw, DTYPES[datatype])
        return np.where(np.isfinite(values), values, values.dtype.type(-0.0)).tobytes()
    return bytes(raw)


def texts(chance: random.Random, count: int, carried_by_json: bool) -> Iterator[bytes]:
    """Empty, long, with NULs, in other scripts, and (where they may be no text at all) any bytes."""
    for _ in range(count):
        if chance.random() < 0.3:
            yield chance.choice(ODD_TEXTS[:-1] if count > 50 else ODD_TEXTS)
        elif carried_by_json:
            yield "".join(chance.choices("abcé漢😀 ", k=chance.randrange(12))).encode()
        else:
            yield chance.randbytes(chance.randrange(40))


def cases(datatype: str, carried_by_json: bool) -> Iterator[Sent]:
    """Tensors of several batch sizes, one and the most that the model takes among them."""
    chance = random.Random(f"{datatype} {carried_by_json}")
    for number in range(CASES):
        rows = (1, MAX_BATCH)[number] if number < 2 else chance.randrange(1, MAX_BATCH + 1)
        shape = (rows, chance.randrange(1, 20))
        yield Sent(datatype, shape, elements(chance, datatype, shape[0] * shape[1], carried_by_json))


def both(gateway: GatewayProcess, triton: Triton, form: str, model: str, inputs: Tensors) -> tuple[Answered, Answered]:
    """Triton's own answer, and the gateway's."""
    ask = FORMS[form]
    direct = ask(address(triton, form), model, inputs, {})
    return direct, ask(address(gateway, form), model, inputs, gateway.credential)


@pytest.mark.parametrize("form", ["binary", "grpc"])
@pytest.mark.parametrize("datatype", sorted({*DTYPES, "BYTES"}))
def test_raw_tensors_are_bit_equal(gateway: GatewayProcess, triton: Triton, datatype: str, form: str) -> None:
    """Names, datatypes, shapes and every bit of the elements are Triton's, which here are the client's own."""
    for sent in cases(datatype, carried_by_json=False):
        direct, through = both(gateway, triton, form, f"identity_{datatype.lower()}", {"INPUT0": sent})
        assert {"OUTPUT0": sent} == direct.outputs
        assert direct.outputs == through.outputs


@pytest.mark.parametrize("datatype", IN_JSON)
def test_json_tensors_are_bit_equal(gateway: GatewayProcess, triton: Triton, datatype: str) -> None:
    """Numbers keep every digit that they need, text every character: what comes back is bit for bit what was sent.

    For all but FP64 that is Triton's direct answer too. Asked directly, Triton reads every sixth of these doubles 1 or 2 units
    in the last place off what rounding to nearest, and Python's float(), make of the text (rapidjson without full precision
    promises 3); the gateway reads them exactly and hands them on in binary.
    """
    for sent in cases(datatype, carried_by_json=True):
        direct, through = both(gateway, triton, "json", f"identity_{datatype.lower()}", {"INPUT0": sent})
        assert {"OUTPUT0": sent} == through.outputs
        if datatype == "FP64":
            np.testing.assert_array_max_ulp(sent.array(), direct.outputs["OUTPUT0"].array(), maxulp=3)
        else:
            assert through.outputs == direct.outputs


@pytest.mark.parametrize("form", ["binary", "json", "grpc"])
@pytest.mark.parametrize("datatype", ["INT32", "FP32", "BYTES"])
@pytest.mark.parametrize("shape", [(1, 0), (3, 0), (0, 4)])
def test_empty_tensors_fare_alike(
    gateway: GatewayProcess, triton: Triton, datatype: str, form: str, shape: tuple[int, ...]
) -> None:
    """A tensor without elements is answered, or refused, exactly as Triton does it."""
    direct, through = both(gateway, triton, form, f"identity_{datatype.lower()}", {"INPUT0": Sent(datatype, shape, b"")})
    assert (direct.outputs, direct.status) == (through.outputs, through.status)


def misfits() -> dict[str, Tensors]:
    """Questions that `simple` does not take, by what is wrong with them."""
    good = Sent("INT32", (1, 16), bytes(64))
    return {
        "missing input": {"INPUT0": good},
        "unknown input": {"INPUT0": good, "INPUT1": good, "INPUT2": good},
        "wrong datatype": {"INPUT0": good, "INPUT1": Sent("FP32", (1, 16), bytes(64))},
        "wrong shape": {"INPUT0": good, "INPUT1": Sent("INT32", (1, 15), bytes(60))},
        "no batch dimension": {"INPUT0": Sent("INT32", (16,), bytes(64)), "INPUT1": Sent("INT32", (16,), bytes(64))},
        "too many rows": {"INPUT0": Sent("INT32", (9, 16), bytes(576)), "INPUT1": Sent("INT32", (9, 16), bytes(576))},
        "fewer bytes than the shape": {"INPUT0": good, "INPUT1": Sent("INT32", (1, 16), bytes(60))},
    }


@pytest.mark.parametrize("form", ["binary", "grpc"])
@pytest.mark.parametrize("wrong", misfits())
def test_misfits_are_refused_alike(gateway: GatewayProcess, triton: Triton, wrong: str, form: str) -> None:
    """The status is Triton's; the words are ours."""
    direct, through = both(gateway, triton, form, "simple", misfits()[wrong])
    assert direct.status in ("400", "INVALID_ARGUMENT")
    assert direct.status == through.status
    assert through.error
