"""Questions of a JSON head and raw tensors: what goes to a backend says to a strict reader just what the client's bytes said."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ErrorKind, InferenceError
from backends.inference import InferenceRequest
from backends.protocols.v2_http_request import decode_request, encode_request
from tests.fuzz.arrays import SHAPES, written
from tests.fuzz.strict_v2 import DATATYPES, SIZES, NotV2Error, Question, question
from tests.fuzz.wires import OFTEN, changes, mutated

pytestmark = pytest.mark.slow

Members = list[tuple[str, str]]
"""A JSON object as it is written: what is said first, said twice, or spelt with escapes stays so."""

# What goes wrong in an example, if anything does, and the pieces that make it so.
ODD = {
    "dim": ["-1", "1.0", "1e0", "true", "null", '"1"', "01", "-0", "9223372036854775807", "9223372036854775808", "9" * 30, "[1]"],
    "claim": [
        "-1",
        "0",
        "1.0",
        "true",
        "null",
        '"4"',
        "1e1",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "9" * 30,
    ],
    "name": ['"\\ud800"', '"\\ud83d\\ude00"', '"é"', '"\\u0000"', '"\x01"', '""', "5", "null", "[]", '"i0"', '"\\q"'],
    "datatype": ['"FP8"', '"fp32"', '"INT"', '"BYTES "', '"\\u0046P32"', "null", "1", '"BF16"', '"BOOL"', '"TYPE_FP32"'],
    "length": [
        "0",
        "",
        "+{}",
        " {}",
        "{} ",
        "-{}",
        "0{}",
        "{}.0",
        "\u0661",
        "\xb2",
        "{}_0",
        "99999999999",
        "0x1",
        "{0},{0}",
        "1",
        "9{}",
    ],
    "parameter": [
        "null",
        "[]",
        "{}",
        "NaN",
        "1e999",
        "18446744073709551616",
        "-9223372036854775809",
        "9" * 30,
        "1" * 5000,
        '"\\ud800"',
    ],
}
STRAYS: Members = [
    ("data", "[1]"), ("data", "[]"), ("x", '{"data":[1,2]}'), ("x", '"\\"data\\":[1]"'), ("x", '[{"a":1,"a":2}]'), ("inputs",
    "[]"),
    ("x", "NaN"), ("", "0"), ("parameters", "{}"), ("parameters", '{"shared_memory_region":"r"}'), ("Data", "[]"), ("x",
    "1" * 5000),
    ("x", "[" * 60 + "]" * 60), ("x", '"\\ud800"'), ("id", '""'), ("shape", "[1]"), ("name", '"i0"'), ("parameters", "null"),
    ("outputs", "null"), ("outputs", "[{}]"), ("outputs", "{}"), ("id", "null"), ("id", "5"), ("x", '{"a":1,"\\u0061":2}'),
]  # fmt: skip
FLAWS = [*ODD, "repeated", "escaped", "stray", "element", "size", "tail", "absent", "text", "elsewhere"]
PIECES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\\",
    b"\\u0064ata",
    b'"data":',
    b'"data":[],',
    b"null",
    b"0",
    b" ",
    b"\xff",
    b"\0",
    b"",
)
# Refused for safety where they hold somebody else's "data", though no two readers differ.
DOUBTFUL = ("elsewhere", "stray", "escaped", "repeated")
SCALARS = st.sampled_from(["1", "-5", "true", '"v"', "1.5", "1e2", "0", "9223372036854775808", '"é"'])


@st.composite
def tails(draw: st.DrawFn, datatype: str, shape: tuple[int, ...]) -> bytes:
    """The elements as they lie behind a head."""
    count = math.prod(shape)
    if datatype != "BYTES":
        size = count * SIZES[datatype]
        return draw(st.binary(min_size=size, max_size=size))
    texts = draw(st.lists(st.binary(max_size=4), min_size=count, max_size=count))
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


class Message:
    """One question in the making; `flaw` is done once, where it first fits."""

    def __init__(self, draw: st.DrawFn, flaw: str) -> None:
        self.draw = draw
        self.flaw = flaw
        self.tail = b""

    def odd(self, flaw: str, good: str) -> str:
        return self.draw(st.sampled_from(ODD[flaw])) if self.flaw == flaw else good

    def written(self, members: Members) -> str:
        """The object, in any order, with what is to be wrong about its keys."""
        if self.flaw == "stray" and self.draw(st.booleans()):
            members = [*members, self.draw(st.sampled_from(STRAYS))]
        if self.flaw == "repeated" and members and self.draw(st.booleans()):
            members = [*members, self.draw(st.sampled_from(members))]
        if self.flaw == "absent" and members and self.draw(st.booleans()):
            members = [member for member in members if member is not self.draw(st.sampled_from(members))]
        parts = []
        for key, value in self.draw(st.permutations(members)):
            spelt = (
                f"\\u{ord(key[0]):04x}{key[1:]}"
                if key and self.flaw in ("escaped", "repeated") and self.draw(st.booleans())
                else key
            )
            parts.append(f'"{spelt}"{self.draw(BLANKS)}:{self.draw(BLANKS)}{value}')
        return "{" + ",".join(parts) + "}"

    def parameters(self, members: Members) -> Members:
        for number in range(self.draw(st.integers(0, 1))):
            members = [*members, (f"p{number}", self.odd("parameter", self.draw(SCALARS)))]
        return [("parameters", self.written(members))] if members else []

    def input(self, number: int) -> str:
        draw = self.draw
        datatype, shape = draw(st.sampled_from(DATATYPES)), draw(SHAPES)
        dims = [str(dim) for dim in shape]
        if self.flaw == "dim":
            at = draw(st.integers(0, len(dims)))
            dims[at : at + 1] = [self.odd("dim", "")]
        name = self.odd("name", f'"i{number}"')
        members: Members = [("name", name), ("datatype", self.odd("datatype", f'"{datatype}"')), ("shape", f"[{','.join(dims)}]")]
        if draw(st.booleans()):
            array = draw(written(datatype, shape, odd=self.flaw == "element"))
            own: Members = [("data", array)]
            if self.flaw == "elsewhere":  # elements that a hasty reader may take for this input's own
                own = draw(st.sampled_from([own, [("\\u0064ata", array)], [("\\u0064ata", "[]")], [("data", "[]")], []]))
                own = [*own, ("x", f'{{"data":{draw(written(datatype, shape))}}}')]
            return self.written([*members, *own, *self.parameters([])])
        raw = draw(tails(datatype, shape))
        if self.flaw == "text":
            raw = mutated(raw, draw(changes((b"\0\0\0\0", b"\1\0\0\0", b"\xff\xff\xff\xff", b"\0"), 2)))
        self.tail += raw
        claim = len(raw) + (draw(st.sampled_from([-1, 1, 4])) if self.flaw == "size" else 0)
        return self.written([*members, *self.parameters([("binary_data_size", self.odd("claim", str(claim)))])])

    def whole(self) -> tuple[bytes, str | None]:
        """Body and length header."""
        draw = self.draw
        inputs = [self.input(number) for number in range(draw(st.integers(1, 3)))]
        members: Members = [("inputs", f"[{','.join(inputs)}]"), *self.parameters([])]
        if draw(st.booleans()):
            members.append(("id", self.odd("name", '"q"')))
        if draw(st.booleans()):
            binary = self.parameters([("binary_data", draw(st.sampled_from(["true", "false"])))])
            members.append(("outputs", f"[{self.written([('name', self.odd('name', chr(34) + 'o' + chr(34))), *binary])}]"))
        head = self.written(members).encode("utf-8", "surrogatepass")
        if self.flaw == "tail":
            self.tail = mutated(self.tail, [(draw(st.integers(0, 99)), draw(st.integers(0, 2)), draw(st.binary(max_size=3)))])
        length = None if not self.tail and draw(st.booleans()) else self.odd("length", "{}").format(len(head))
        return head + self.tail, length


BLANKS = st.sampled_from(["", "", "", " ", "\t\r\n "])


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, str | None, bool]:
    """Body, length header, and whether what a strict reader understands must be accepted."""
    flaw = draw(st.sampled_from([*[""] * len(FLAWS), *FLAWS]))
    body, length = Message(draw, flaw).whole()
    marred = draw(changes(PIECES, 2))
    return mutated(body, marred), length, flaw not in DOUBTFUL and not marred


def accepted(body: bytes, length: str | None) -> InferenceRequest | None:
    """The request, or None where it is the client's mistake."""
    try:
        return decode_request(body, length, "digits", "")
    except InferenceError as error:
        assert (ErrorKind.INVALID, "client") == (error.kind, error.source)  # noqa: PT017 - a refusal is as good as an answer
        return None


def said(body: bytes, length: str | None) -> Question | None:
    """The strict reading."""
    try:
        return question(body, length)
    except NotV2Error:
        return None


@OFTEN
@given(messages())
def test_hostile_questions(message: tuple[bytes, str | None, bool]) -> None:
    """A message that does not say one thing alone is refused; of any other the backend is sent all of what it says."""
    body, length, clear = message
    expected = said(body, length)
    request = accepted(body, length)
    if request is None:
        assert expected is None or not clear
        return
    assert expected is not None, "accepted, though it says nothing or two things"
    found = encode_request(request)
    assert expected == said(b"".join(found.parts), None if found.head is None else str(found.head))
    tensors = [(tensor.name, tensor.datatype, tensor.shape, bytes(tensor.data)) for tensor in request.payload.tensors()]
    assert [(each.name, each.datatype, each.shape, each.raw) for each in expected.inputs] == tensors
