"""Answers as they lie in the store: compact, compressed where that pays, bound to their key: only what we wrote is read.

    form (1 byte: FORM or SMALL) · MAC (16 bytes) · body in MessagePack, of SMALL deflated

The MAC (HMAC-SHA-256 with the replicas' secret, over form, key and body) is checked before anything else is looked at: what was
cut off, changed, moved under another key or written by a stranger is not found. Another layout needs other forms.
"""

from __future__ import annotations

import hmac
import zlib
from typing import Annotated, Any

import msgspec

from backends.inference import InferenceResponse, Parameter, Tensors
from backends.tensors import Tensor
from policies.call import Kept, Share

FORM, SMALL = b"\x01", b"\x02"
MAC = 16
HEAD = 1 + MAC
COMPRESSED = 8 << 10  # bytes of a body from which on less of it is worth the time
SAMPLE = 4 << 10  # bytes that are tried first: 1 MiB that cannot be made smaller would take 30 ms
RATIO = 16  # of a compressed body, about, to what it was
WORTH = 0.8  # of its size, to be kept compressed
INFLATED = 16 << 20  # bytes; what would be more is neither written nor read
_ABOUT = b"penstock-answer-1"


class Response(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One response; of each tensor name, datatype, shape and data."""

    model: str
    version: str
    parameters: dict[str, Parameter]
    tensors: tuple[tuple[str, str, tuple[int, ...], bytes], ...]

    def response(self) -> InferenceResponse:
        """As it was."""
        tensors = tuple([Tensor(*each) for each in self.tensors])
        return InferenceResponse(self.model, self.version, "", self.parameters, Tensors(tensors))


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All of an answer but its key. `responses`: several of a stream; `stale`: seconds that it is of use when not fresh."""

    responses: Annotated[tuple[Response, ...], msgspec.Meta(min_length=1)]
    shares: tuple[tuple[str, int, str, str], ...]
    escalation: str
    seconds: float
    stale: float
    generation: int
    tag: str
    size: int

    def kept(self, key: bytes, asked: float, until: float, seal: bytes = b"") -> Kept:
        """The answer, by the clock of whoever read it; `seal` is its value's."""
        response, *more = [each.response() for each in self.responses]
        shares = tuple([Share(*share) for share in self.shares])
        return Kept(
            key, response, shares, self.escalation, (), self.seconds, asked, until, self.tag, self.size, tuple(more), seal
        )


def _of(response: InferenceResponse) -> Response:
    tensors = tuple([(each.name, each.datatype, each.shape, bytes(each.data)) for each in response.payload.tensors()])
    return Response(response.model, response.version, dict(response.parameters), tensors)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Body).decode


def written(kept: Kept, ends: float, generation: int, secret: bytes) -> bytes | None:
    """The answer's bytes, which are of use until `ends`; None for one that cannot be written, or is larger than INFLATED."""
    try:
        body = _encode(
            Body(
                tuple([_of(each) for each in (kept.response, *kept.more)]),
                tuple([(share.variant, share.rows, share.model, share.version) for share in kept.shares]),
                kept.escalation,
                kept.seconds,
                ends - kept.until,
                generation,
                kept.tag,
                kept.size,
            )
        )
    except (ValueError, OverflowError):  # surrogates, numbers of more than 64 bits
        return None
    if len(body) > INFLATED:
        return None
    form, body = _smaller(body) if len(body) >= COMPRESSED else (FORM, body)
    return b"".join((form, _mac(secret, form, kept.key, body), body))


def read(value: object, key: bytes, secret: bytes) -> Body | None:
    """What was written under this key with this secret; None for everything else. Never raises."""
    if type(value) is not bytes or len(value) < HEAD:
        return None
    form, body = value[:1], value[HEAD:]
    if not hmac.compare_digest(_mac(secret, form, key, body), value[1:HEAD]):
        return None
    try:
        return _decode(_inflated(body) if form == SMALL else body)
    except (msgspec.MsgspecError, zlib.error, ValueError):
        return None


def seal(value: bytes) -> bytes:
    """Equal for values that read gives the same for: nobody without the secret can make another body for the same MAC."""
    return value[:HEAD]


def work(value: bytes) -> int:
    """What reading it takes, in bytes of an answer that is not compressed."""
    return len(value) * (RATIO if value[:1] == SMALL else 1)


def _mac(secret: bytes, form: bytes, key: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, b"".join((_ABOUT, form, key, body)), "sha256")[:MAC]


def _smaller(body: bytes) -> tuple[bytes, bytes]:
    middle = len(body) // 2  # the beginning has the names, and is like nothing that follows
    if len(zlib.compress(body[middle : middle + SAMPLE], 1)) < WORTH * min(SAMPLE, len(body) - middle):
        smaller = zlib.compress(body, 1)
        if len(smaller) < WORTH * len(body):
            return SMALL, smaller
    return FORM, body


def _inflated(body: bytes) -> bytes:
    inflater: Any = zlib.decompressobj()
    whole: bytes = inflater.decompress(body, INFLATED)
    if not inflater.eof:
        raise ValueError("too large, or cut off")
    return whole
