"""Requests and responses in Open Inference Protocol terms, and what it takes to be a backend."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from backends.deadline import Deadline
from backends.tensors import Tensor

if TYPE_CHECKING:
    from backends.begun import Begun

Parameter = bool | int | float | str
Parameters = Mapping[str, Parameter]
NO_PARAMETERS: Parameters = {}
# bytes, unless a backend is given another bound: one without an end is to cost 64 MiB at most until it is refused
LARGEST_ANSWER = 48 << 20


class TensorSpec(msgspec.Struct, frozen=True, gc=False):
    """What a message says of a tensor before anybody decodes it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters = {}


class RequestedOutput(msgspec.Struct, frozen=True, gc=False):
    """An output the client asked for, with its parameters (`classification`; `binary_data` is the HTTP dialect's own)."""

    name: str
    parameters: Parameters = {}


class Payload(Protocol):
    """The tensors of one message in whatever form they came. Decodes when first asked, and only once.

    A codec recognises its own class and sends the bytes on unchanged; for any other it asks for `tensors()`.
    """

    def tensors(self) -> tuple[Tensor, ...]:
        """Checked tensors, in the message's order. Raises InferenceError (INVALID for requests, BROKEN for responses)."""
        ...


class Tensors:
    """A payload that is decoded already."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self._tensors = tensors

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors it was made with."""
        return self._tensors


class InferenceRequest(msgspec.Struct, frozen=True, gc=False):
    """A question. `model` and `version` are the public names at the front and the backend's own at the back."""

    model: str
    version: str  # "" where none was asked for
    id: str
    parameters: Parameters
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[RequestedOutput, ...]  # empty: all of them
    payload: Payload
    headers: tuple[tuple[str, str], ...] = ()  # passed on beside the tensors: traceparent, tracestate, x-request-id
    unit: str = ""  # whose question it is, for clusters that send one's questions to one endpoint
    priority: int | None = None  # X-Priority: 0, the highest, to 9; None where the client says nothing
    begun: Begun | None = None  # its first attempt, where that was sent already
    sent: list[float] | None = None  # put there by who wants to know when it was sent: moments of attempts that nobody refused

    @property
    def rows(self) -> int | None:
        """The leading dimension that all inputs share; None where there is none."""
        found: int | None = None
        for spec in self.inputs:
            if not spec.shape or (found is not None and found != spec.shape[0]):
                return None
            found = spec.shape[0]
        return found

    @property
    def repeatable(self) -> bool:
        """Whether asking twice does no harm: inference changes nothing, but for the state that a server keeps of a sequence.

        A client that sends an Idempotency-Key says that its question is not to be done twice.
        """
        for name, _ in self.headers:  # any() and a generator cost 0.4 µs more
            if name == "idempotency-key":
                return False
        return "sequence_id" not in self.parameters


class InferenceResponse(msgspec.Struct, frozen=True, gc=False):
    """An answer. `model` and `version` are what the backend says answered."""

    model: str
    version: str
    id: str
    parameters: Parameters
    payload: Payload

    def output(self, name: str) -> Tensor | None:
        """The named output, decoded."""
        return next((tensor for tensor in self.payload.tensors() if tensor.name == name), None)


_PLAIN = re.compile(r"[ !#-\[\]-~]*")  # printable ASCII but for quotes and backslashes


def names_itself(model: str, version: str) -> bool:
    """Whether an answer may go on under what its backend calls itself, which becomes headers and is remembered.

    Printable ASCII without quotes and backslashes; at most 256 characters of name and 128 of version.
    """
    return len(model) <= 256 and len(version) <= 128 and _PLAIN.fullmatch(model + version) is not None


Description = Literal["metadata", "config", "stats"]


class Backend(Protocol):
    """Anything that can be asked. Methods raise InferenceError and nothing else, and give everything back when cancelled."""

    async def infer(self, request: InferenceRequest, deadline: Deadline) -> InferenceResponse:
        """One question, one answer."""
        ...

    def stream(self, request: InferenceRequest, deadline: Deadline) -> AsyncGenerator[InferenceResponse, None]:
        """One question, any number of answers (decoupled models). Closing it ends the question."""
        ...

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        """Whether this model answers; with an empty name, whether the server does."""
        ...

    async def describe(self, what: Description, model: str, version: str, deadline: Deadline) -> dict[str, Any]:
        """Metadata, configuration or statistics as the JSON object of the Open Inference Protocol's HTTP form."""
        ...

    async def close(self) -> None:
        """Let go of every connection, each as soon as it has nothing in flight."""
        ...


@runtime_checkable
class Repository(Protocol):
    """A backend that can say which models it could serve: an extension of the protocol."""

    async def models(self, deadline: Deadline) -> tuple[str, ...]:
        """Their names, each once. Raises InferenceError where the server does not tell."""
        ...
