"""Tests of gateway.store.written: what is read is exactly what was written, under its key and with its secret, or nothing."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.inference import InferenceResponse, Tensors
from backends.tensors import Tensor
from gateway.store import written
from gateway.store.written import COMPRESSED, FORM, HEAD, INFLATED, SMALL, Body
from policies.call import Kept, Share

KEY, SECRET = bytes(range(32)), b"s" * 32
PARAMETERS: list[Any] = [{}, {"a": True, "b": 1, "c": 1.5, "d": "ü", "e": -(2**63), "f": 2**64 - 1}]


def answer(
    data: bytes = b"\0" * 8,
    parameters: dict[str, Any] | None = None,
    shares: tuple[Share, ...] = (Share("fast", 2, "f", "3"), Share("accurate", 1, "a", "7")),
    more: int = 0,
) -> Kept:
    """An answer of one UINT8 tensor, and so many others behind it."""
    tensors = (Tensor("x", "UINT8", (1, len(data)), data), Tensor("empty", "BYTES", (0,), b""))
    responses = [InferenceResponse("digits", str(n), "", parameters or {}, Tensors(tensors)) for n in range(1 + more)]
    return Kept(KEY, responses[0], shares, "fast→accurate", (), 0.25, 10.0, 60.0, "vision", 1234, tuple(responses[1:]))


def bytes_of(kept: Kept, ends: float = 90.0) -> bytes:
    """What is written, which there must be."""
    found = written.written(kept, ends, 5, SECRET)
    assert found is not None
    return found


def plain(kept: Kept) -> Any:
    """All of it as values that can be compared."""
    responses = [(each.model, each.version, each.id, dict(each.parameters)) for each in (kept.response, *kept.more)]
    tensors = [each.payload.tensors() for each in (kept.response, *kept.more)]
    return msgspec.structs.astuple(msgspec.structs.replace(kept, response=None, more=())), responses, tensors


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("data", [b"", b"\x07" * 100, b"abcdefg" * COMPRESSED])
def test_what_was_written_is_read(parameters: dict[str, Any], more: int, data: bytes) -> None:
    """Bit for bit, with its shares and a stream's other answers; moments are the reader's."""
    kept = answer(data, parameters, more=more)
    value = bytes_of(kept)
    body = written.read(value, KEY, SECRET)
    assert body is not None
    assert (30.0, 5) == (body.stale, body.generation)
    assert plain(kept) == plain(body.kept(KEY, 10.0, 60.0))
    assert (3.0, 4.0) == (lambda other: (other.asked, other.until))(body.kept(KEY, 3.0, 4.0))
    assert (SMALL if len(data) > COMPRESSED else FORM) == value[:1]


def test_compressed_only_where_it_pays() -> None:
    """What is large and like itself; noise is left as it is."""
    noise = b"".join(zlib.crc32(bytes([n % 251, n // 251])).to_bytes(4, "little") for n in range(COMPRESSED))
    for data, form in ((b"ab" * COMPRESSED, SMALL), (noise, FORM), (b"ab" * 100, FORM)):
        value = bytes_of(answer(data))
        assert form == value[:1]
        assert len(value) < len(data) + 200
    assert written.work(bytes_of(answer(b"ab" * COMPRESSED))) > 16 * 20
    small = bytes_of(answer())
    assert len(small) == written.work(small)


@given(st.data())
def test_any_other_bytes_are_nothing(draw: st.DataObject) -> None:
    """Whatever is cut off, added, turned or put in; nothing raises."""
    value = bytes_of(answer(draw.draw(st.sampled_from([b"1234", b"abcdefgh" * COMPRESSED]))))
    place = draw.draw(st.integers(0, len(value) - 1))
    end = draw.draw(st.integers(place, len(value)))
    changed = value[:place] + draw.draw(st.binary(max_size=40)) + value[end:]
    found = written.read(changed, KEY, SECRET)
    assert (changed == value) == (found is not None)


@given(st.one_of(st.binary(max_size=200), st.none(), st.integers(), st.text(), st.lists(st.binary())))
def test_a_stranger_s_value_is_nothing(value: object) -> None:
    """Of whatever type."""
    assert written.read(value, KEY, SECRET) is None


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_under_another_key_or_secret_it_is_nothing(key: bytes, secret: bytes) -> None:
    """A value belongs where it was put, and to whoever has the secret."""
    value = bytes_of(answer())
    assert ((key, secret) == (KEY, SECRET)) == (written.read(value, key, secret) is not None)


@given(st.sampled_from([FORM, SMALL, b"\x03"]), st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(zlib.compress)))
def test_whoever_has_the_secret_can_write_nonsense(form: bytes, body: bytes) -> None:
    """It raises nothing; what has the right MAC and the wrong layout is not found."""
    value = form + written._mac(SECRET, form, KEY, body) + body
    assert written.read(value, KEY, SECRET) is None


def test_a_bomb_is_not_inflated() -> None:
    """However it came to have the right MAC."""
    body = zlib.compress(bytes(INFLATED + 1), 9)
    assert written.read(SMALL + written._mac(SECRET, SMALL, KEY, body) + body, KEY, SECRET) is None


def test_an_answer_without_a_response_is_nothing() -> None:
    """There must be one at least."""
    body = msgspec.msgpack.encode(Body((), (), "none", 0.0, 0.0, 0, "", 0))
    assert written.read(FORM + written._mac(SECRET, FORM, KEY, body) + body, KEY, SECRET) is None


@pytest.mark.parametrize("parameters", [{"a": 2**64}, {"a": "\ud800"}])
def test_what_cannot_be_written_is_not(parameters: dict[str, Any]) -> None:
    """Numbers and texts that MessagePack has not."""
    assert written.written(answer(parameters=parameters), 90.0, 0, SECRET) is None


def test_what_is_too_large_is_not_written() -> None:
    """It could not be read again."""
    assert written.written(answer(bytes(INFLATED)), 90.0, 0, SECRET) is None
    assert HEAD < len(bytes_of(answer(bytes(INFLATED // 2))))
