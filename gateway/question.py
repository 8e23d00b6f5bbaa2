"""What routing looks at beside a request's head: found out only where some route of the model looks at it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from backends.admission import MIDDLE
from backends.errors import invalid
from backends.inference import InferenceRequest
from backends.protocols.v2_grpc import GrpcPayload
from backends.tensors import BYTES, Tensor
from routing.conditions import Looks
from routing.match import Question
from routing.principal import PRIORITY, Principal
from routing.prompt.scorer import MOST_TEXTS, PromptRouter

_LENGTH = struct.Struct("<I")


def looked_at(question: Question, looks: Looks | None, request: InferenceRequest) -> Question:
    """The question with what the model's routes look at. Raises INVALID: no priority, or tensors that do not hold."""
    if looks is None:
        return question
    tensors = request.payload.tensors() if looks.size or looks.texts or looks.prompts else ()
    return replace(
        question,
        priority=priority_asked(question.headers) if looks.priority else None,
        size=sum(len(tensor.data) for tensor in tensors),
        text_lengths={each.name: longest(each.data) for each in tensors if each.datatype == BYTES and each.name in looks.texts},
        prompts=_scores(looks.routers, tensors) if looks.prompts else {},
    )


def takes_long(looks: Looks | None, request: InferenceRequest) -> bool:
    """Whether looking walks through elements one by one: through texts, or through a gRPC message's own fields."""
    if looks is None or not (looks.size or looks.texts or looks.prompts):
        return False
    payload = request.payload
    return (isinstance(payload, GrpcPayload) and bool(payload.typed)) or any(spec.datatype == BYTES for spec in request.inputs)


def longest(data: bytes | memoryview) -> int:
    """Characters of the longest element of a checked BYTES buffer; what is no UTF-8 counts as one for each piece that is none.

    An element has no more characters than bytes, so only those with more bytes than the longest so far are read.
    """
    view, found, at = memoryview(data), 0, 0
    while at < len(view):
        (size,) = _LENGTH.unpack_from(view, at)
        at += 4
        if size > found:
            found = max(found, len(str(view[at : at + size], "utf-8", "replace")))
        at += size
    return found


def _scores(routers: Sequence[PromptRouter], tensors: Sequence[Tensor]) -> dict[str, int]:
    """By router, how hard the hardest text of its input is; nothing of one whose input is not there or has no texts."""
    texts = {tensor.name: tensor.data for tensor in tensors if tensor.datatype == BYTES}
    found = {}
    for router in routers:
        assert router.scorer is not None, "whoever serves has read the routers' files"
        if router.input in texts:
            score = router.scorer.highest(islice(beginnings(texts[router.input], router.scorer.characters), MOST_TEXTS))
            if score is not None:
                found[router.name] = score
    return found


def beginnings(data: bytes | memoryview, characters: int) -> Iterator[str]:
    """The first characters, and perhaps more, of each element of a checked BYTES buffer; what is no UTF-8 is replaced."""
    view, at = memoryview(data), 0
    while at < len(view):
        (size,) = _LENGTH.unpack_from(view, at)
        at += 4
        yield str(view[at : at + min(size, 4 * characters)], "utf-8", "replace")  # no character has more than four bytes
        at += size


def priority_given(headers: Mapping[str, str]) -> int | None:
    """X-Priority, 0 (highest) to 9; None where the client gives none, or something else."""
    given = headers.get("x-priority")
    return int(given) if given is not None and len(given) == 1 and given in "0123456789" else None


def priority_granted(headers: Mapping[str, str], principal: Principal) -> int | None:
    """The same as far as it is the client's to say: anybody may stand back, only who has the scope may go before others."""
    if "x-priority" not in headers:
        return None
    given = priority_given(headers)
    return MIDDLE if given is not None and given < MIDDLE and PRIORITY not in principal.scopes else given


def priority_asked(headers: Mapping[str, str]) -> int | None:
    """The same where a route looks at it. Raises INVALID for something else."""
    priority = priority_given(headers)
    if priority is None and "x-priority" in headers:
        raise invalid("x-priority must be a whole number from 0, the highest, to 9", "priority")
    return priority
