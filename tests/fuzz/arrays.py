"""Arrays as clients write them in JSON, element by element, for the fuzz targets: good ones, and elements that belong nowhere."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.strict_v2 import REAL, WHOLE

BLANK = st.sampled_from(["", "", "", " ", "\t", "\r\n ", "\n"])
ODD = st.sampled_from([
    "NaN", "Infinity", "-Infinity", "1e400", "-1e999", "1e-400", "1e39", "3.4028235677973366e38", "3.4e38", "65520",
    "65519.99", "1.0", "1e2",
    "1E+2", "-0", "-0.0", "01", "1.", ".5", "+1", "0x10", "1_0", "--1", "-", "true", "false", "null", "True", "\"1\"",
    "\"[1]\"", "{}", "[]",
    "[[]]", "{\"a\":1,\"a\":2}", "\"\\ud800\"", "\"\\ud83d\\ude00\"", "\"\\u0000\"", "\"\\x\"", "\"a\\", "", "1 2", "1]",
    "[1", "128", "-129",
    "255", "256", "65536", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "9" * 40, "9" * 400, "0." + "3" * 60, "1" * 25 + ".5", "2.5e-324",
    "0e999999999999",
    "1e-99999999999999999999", "1e99999999999999999999", "4503599627370497.5", "1.00390625", "1.01171875", "\"\x7f\"",
    "\"\t\"", "1,", ",",
])  # fmt: skip

EDGES = {
    "FP16": ["65504", "65519.99", "65520", "-65520", "6e-8", "2.9e-8", "2.98e-8", "1e39"],
    "FP32": [
        "3.4028234663852886e38",
        "3.4028235677973366e38",
        "-3.4028235677973366e38",
        "1e-45",
        "7e-46",
        "7.1e-46",
        "1e39",
        "1e400",
    ],
    "FP64": ["1.7976931348623157e308", "1.7976931348623159e308", "-1e309", "2.4703282292062327e-324", "2.5e-324", "1e-400"],
    "BF16": [
        "3.3895313892515355e38",
        "3.3961775e38",
        "3.3961776e38",
        "3.4e38",
        "-1e39",
        "1.00390625",
        "1.01171875",
        "9.2e-41",
        "4.6e-41",
    ],
}


def edge(datatype: str) -> st.SearchStrategy[str]:
    """A number that the datatype just holds, or just does not."""
    if datatype not in WHOLE:
        return st.sampled_from(EDGES.get(datatype, ["1"]))
    limits = np.iinfo(WHOLE[datatype])
    return st.sampled_from([str(int(limit) + step) for limit in (limits.min, limits.max) for step in (-1, 0, 1)])


def element(datatype: str) -> st.SearchStrategy[str]:
    """One element of the datatype, as JSON."""
    if datatype == "BYTES":
        return st.text(max_size=5).map(json.dumps) | st.text(max_size=5).map(lambda text: json.dumps(text, ensure_ascii=False))
    if datatype == "BOOL":
        return st.sampled_from(["true", "false"])
    if datatype in WHOLE:
        limits = np.iinfo(WHOLE[datatype])
        return st.integers(int(limits.min), int(limits.max)).map(str)
    width = {"FP16": 16, "FP64": 64}.get(datatype, 32)
    largest = float(np.finfo(REAL[datatype]).max) if datatype in REAL else 3.3800000765064914e38
    numbers = st.floats(-largest, largest, width=width)  # type: ignore[arg-type]
    return numbers.map(repr) | numbers.map(lambda number: f"{number:.30g}") | st.integers(-60000, 60000).map(str)


@st.composite
def written(draw: st.DrawFn, datatype: str, shape: tuple[int, ...], *, odd: bool = False) -> str:
    """An array of that shape, nested or flat, blanks anywhere; `odd`: with an element that may not belong there."""
    count = int(np.prod(shape, dtype=object))
    values = [draw(element(datatype)) for _ in range(count)]
    if odd:
        at = draw(st.integers(0, max(0, count - 1)))
        values[at : at + 1] = [draw(ODD | edge(datatype))]
    if shape and len(values) == count and draw(st.booleans()):
        return _nested(values, shape)
    return "[" + draw(BLANK) + ("," + draw(BLANK)).join(values) + draw(BLANK) + "]"


def _nested(values: list[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return values[0]
    step = len(values) // shape[0] if shape[0] else 0
    return "[" + ", ".join(_nested(values[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])) + "]"


SHAPES = st.lists(st.integers(0, 3) | st.integers(1, 3), max_size=3).map(tuple)
