"""The fixed questions and answers."""

import json
import struct

import pytest
from tritonclient.grpc import service_pb2

from loadtest import traffic
from loadtest.traffic import Message


def test_the_binary_question_carries_one_kilobyte_of_tensor() -> None:
    """The body is the header whose length is stated, followed by 1 024 bytes."""
    message = traffic.question("1k").message
    length = int(dict(message.headers)[traffic.LENGTH_HEADER])
    assert len(message.body) - length == 1024
    assert json.loads(message.body[:length])["inputs"][0]["shape"] == [4, 64]


def test_sizes_are_what_their_names_say() -> None:
    """150 KB of question, 1 MB of answer."""
    assert 150_000 <= len(traffic.question("150k").message.body) < 156_000
    assert 1_000_000 <= len(traffic.answers()["digits_1m"].body) < 1_060_000


def test_the_json_question_is_about_as_large() -> None:
    """JSON and binary rows compare requests of similar size."""
    assert 700 < len(traffic.question("json").message.body) < 1300


@pytest.mark.parametrize("name", ["digits_1k", "digits_150k", "digits_json", "digits_fast", "digits_accurate"])
def test_every_answer_reads_back_as_its_labels(name: str) -> None:
    """What the backend says decodes to the label of each row, in binary and in JSON."""
    rows = {
        "digits_1k": range(4),
        "digits_150k": range(600),
        "digits_json": range(2),
        "digits_fast": range(32),
        "digits_accurate": traffic.UNSURE_ROWS,
    }[name]
    assert tuple(row % 10 for row in rows) == traffic.labels_in(traffic.answers()[name])


def test_exactly_the_unsure_rows_are_below_the_threshold() -> None:
    """The cascade's first answer escalates three rows, its second none."""
    message = traffic.answers()["digits_fast"]
    offset = int(dict(message.headers)[traffic.LENGTH_HEADER])
    values = struct.unpack_from("<320f", message.body, offset)
    below = tuple(row for row in range(32) if max(values[row * 10 : row * 10 + 10]) < traffic.ACCEPT)
    assert below == traffic.UNSURE_ROWS


def test_rows_that_are_kept_one_by_one_are_all_different() -> None:
    """Else one row's answer would be kept for another."""
    body = traffic.question("rows").message.body
    tensor = body[-32 * 256 :]
    assert 32 == len({tensor[at : at + 256] for at in range(0, len(tensor), 256)})


def test_an_answer_without_labels_is_refused() -> None:
    """A message that is no classification raises ValueError."""
    with pytest.raises(ValueError, match="no output called label"):
        traffic.labels_in(Message((), b'{"outputs": []}'))


def test_unknown_traffic_is_refused() -> None:
    """A name nobody knows raises with the names there are."""
    with pytest.raises(ValueError, match="1k, 150k, 1m, json, cascade, rows or unique"):
        traffic.question("xml")


def test_the_grpc_frame_is_a_length_prefixed_request() -> None:
    """h2load sends one uncompressed gRPC message."""
    frame = traffic.grpc_frame()
    request = service_pb2.ModelInferRequest.FromString(frame[5:])
    assert (0, len(frame) - 5) == struct.unpack(">BI", frame[:5])
    assert len(request.raw_input_contents[0]) == 1024
