"""Content codings: gzip and deflate bodies both ways, within limits."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.features.conftest import PLAIN, image, packed

if TYPE_CHECKING:
    from tests.features.conftest import Running, Start

BODY = json.dumps({"inputs": [image(range(40))]}).encode()
RAW = zlib.compressobj(wbits=-15)
CODED = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY), "x-gzip": gzip.compress(BODY)}


@pytest.mark.parametrize(
    ("coding", "body"),
    [*CODED.items(), ("deflate", RAW.compress(BODY) + RAW.flush()), ("identity", BODY), ("GZIP", CODED["gzip"])],
)
async def test_a_coded_question(digits: Running, coding: str, body: bytes) -> None:
    """The body is inflated here: the backend gets the numbers in plain binary and no coding."""
    reply = await digits.ask("POST", "/v2/models/digits/infer", body, {"Content-Encoding": coding})
    assert list(range(100, 140)) == reply.output("label")
    (asked,) = digits.backend.asked
    plain, headers = packed(range(40))
    head = int(headers["Inference-Header-Content-Length"])
    assert (json.loads(plain[:head]), plain[head:]) == (asked.head, asked.tail)
    assert "content-encoding" not in asked.headers


async def test_a_coded_binary_question(digits: Running) -> None:
    """The head's length is that of the plain JSON, as Triton's clients send it."""
    body, headers = packed([3, 4])
    reply = await digits.ask("POST", "/v2/models/digits/infer", gzip.compress(body), {**headers, "Content-Encoding": "gzip"})
    assert [103, 104] == reply.output("label")
    (asked,) = digits.backend.asked
    head = int(headers["Inference-Header-Content-Length"])
    assert (json.loads(body[:head]), body[head:]) == (asked.head, asked.tail)
    assert "content-encoding" not in asked.headers


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("gzip;q=0, deflate", "deflate"), ("br, *", "gzip"), ("identity", ""), ("br", "")],
)
async def test_a_coded_answer(digits: Running, accepted: str, coding: str) -> None:
    """A long answer comes in the coding the client likes best; caches are told that it depends on that."""
    reply = await digits.ask("POST", "/v2/models/digits/infer", BODY, {"Accept-Encoding": accepted})
    assert (200, coding) == (reply.status, reply.headers.get("content-encoding", ""))
    decode: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "": bytes}
    plain = decode[coding](reply.body)
    assert "digits" == json.loads(plain)["model_name"]
    assert ("accept-encoding" if coding else None) == reply.headers.get("vary")


async def test_a_coded_binary_answer(digits: Running) -> None:
    """The head's length counts plain bytes."""
    body, headers = packed(range(60), parameters={"binary_data_output": True})
    reply = await digits.ask("POST", "/v2/models/digits/infer", body, {**headers, "Accept-Encoding": "gzip"})
    head = int(reply.headers["inference-header-content-length"])
    assert "digits" == json.loads(gzip.decompress(reply.body)[:head])["model_name"]


async def test_a_short_answer_stays_plain(digits: Running) -> None:
    """Where a coding would cost more than it saves there is none."""
    assert "content-encoding" not in (await digits.infer([0], {"Accept-Encoding": "gzip"})).headers


@pytest.mark.parametrize(
    ("coding", "body", "error"),
    [
        ("compress", BODY, (415, "unsupported")),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), (415, "unsupported")),
        ("gzip", BODY, (400, "invalid")),
        ("gzip", CODED["gzip"][:-9], (400, "invalid")),
        ("deflate", b"", (400, "invalid")),
        ("gzip", CODED["gzip"] + b"more", (400, "invalid")),
        ("gzip", gzip.compress(bytes(200_000)), (413, "inflated")),
    ],
)
async def test_codings_that_do_not_hold(start: Start, coding: str, body: bytes, error: tuple[int, str]) -> None:
    """Unknown, doubled, broken, cut short, or swelling beyond the limit: refused, and the backend hears nothing."""
    gate = await start(PLAIN, limits="{inflated: 100KiB}")
    reply = await gate.ask("POST", "/v2/models/digits/infer", body, {"Content-Encoding": coding})
    assert error == reply.error
    assert [] == gate.backend.asked
