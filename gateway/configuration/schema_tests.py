"""Requests as far as routing looks at them, as people write them: in a policy's own tests, for `penstock policy explain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from backends.inference import Parameter
from gateway.configuration.decode import read_text
from gateway.configuration.problems import UnreadableError, shown
from gateway.configuration.readers import Name, Timeout, read_name
from gateway.configuration.schema_prompts import read_score
from routing.match import LOWEST_PRIORITY
from routing.principal import INFER

LARGEST = 1 << 40


def read_number(value: object) -> int:
    """A whole number from 0. Raises UnreadableError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST:
        return value
    raise UnreadableError(f"{shown(value)} is not a whole number of at least 0")


def read_priority(value: object) -> int:
    """0, the highest, to 9. Raises UnreadableError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LOWEST_PRIORITY:
        return value
    raise UnreadableError(f"{shown(value)} is not a priority: 0, the highest, to {LOWEST_PRIORITY}")


def read_parameter(value: object) -> Parameter:
    """Text, a number, true or false. Raises UnreadableError."""
    if isinstance(value, (str, bool, int, float)):
        return value
    raise UnreadableError("a parameter's value is text, a number, true or false")


def read_any_text(value: object) -> str:
    """Text, an empty one too. Raises UnreadableError."""
    return "" if value == "" else read_text(value)


def read_limits(value: object) -> tuple[str, ...]:
    """The names of limits, in the order of the alphabet; `[]` for none. Raises UnreadableError."""
    return tuple(sorted({read_name(each) for each in (value if isinstance(value, list) else [value])}))


Whole = Annotated[int, read_number]
Text = Annotated[str, read_any_text]


class Caller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks, as a verified token or key would say it."""

    subject: Text = ""
    tenant: Text = ""
    tier: Text = ""
    scopes: tuple[str, ...] = (INFER,)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request without its tensors. `bytes` of the input tensors; `text_length` by BYTES input, `prompt` by router."""

    model: Name
    principal: Caller = Caller()
    rows: Whole | None = 1
    headers: Mapping[str, Text] = msgspec.field(default_factory=dict)
    parameters: Mapping[str, Annotated[Parameter, read_parameter]] = msgspec.field(default_factory=dict)
    version: Text = ""
    priority: Annotated[int, read_priority] | None = None
    bytes: Whole = 0
    text_length: Mapping[str, Whole] = msgspec.field(default_factory=dict)
    request_id: Text = ""
    prompt: Mapping[Name, Annotated[float, read_score]] = msgspec.field(default_factory=dict)


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a test demands of the plan; what is not named may be anything."""

    route: Name | None = None
    use: Name | None = None  # the only variant asked, of a split the side that is taken
    cascade: tuple[Name, ...] = ()  # the stages, in order
    timeout: Timeout | None = None
    limits: Annotated[tuple[str, ...], read_limits] | None = None  # all that count the request, and no other
    refused: Text | None = None  # the reason, as in X-Penstock-Error: no-route, version, forbidden, not-found


class PolicyTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the document's own tests: this request shall be treated so."""

    name: str
    request: Request
    expect: Expect
