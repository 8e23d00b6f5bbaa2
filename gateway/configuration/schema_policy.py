"""The policy document (`config/policy.yaml`) as frozen values, exactly as far as this version supports it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec

from backends.inference import Parameter
from gateway.configuration.decode import read_text
from gateway.configuration.problems import UnreadableError, nearest, shown
from gateway.configuration.quantities import read_share, read_size
from gateway.configuration.readers import (
    Address,
    Amount,
    Count,
    Name,
    Timeout,
    Words,
    not_one_of,
    one_of,
    read_address,
    read_name,
)
from gateway.configuration.schema_cache import Cache
from gateway.configuration.schema_cascade import Cascade
from gateway.configuration.schema_costs import Cost
from gateway.configuration.schema_experiments import Feedback, Group
from gateway.configuration.schema_limits import Limit
from gateway.configuration.schema_prompts import Router, Scored
from gateway.configuration.schema_rollouts import PROOFS, Guard, RolloutStep
from gateway.configuration.schema_shadows import Shadow
from gateway.configuration.schema_tests import PolicyTest, read_parameter
from routing.match import LOWEST_PRIORITY, Range, Versions

PROTOCOLS = ("triton-http", "triton-grpc")
LATER_PROTOCOLS = ("torchserve-http", "torchserve-grpc", "kserve-v2", "tfserving", "openai", "http-json")
UNITS = ("tenant", "subject", "request")
BALANCES = ("least-request", "round-robin", "hash")
MOST_ATTEMPTS = 10
PARTS = ("tests", "limits")  # that a document may do without
DEFAULT_TIMEOUT = 30.0  # seconds
DEFAULT_UNIT = "request"  # every request on its own
_TOKEN = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110 section 5.1, lower-cased
CREDENTIALS = ("authorization", "proxy-authorization", "cookie", "x-api-key")
_RANGE = re.compile(r"(?P<low>[0-9]{1,9})?\.\.(?P<high>[0-9]{1,9})?")
_VERSION_POLICY = re.compile(r"latest\((?P<latest>[1-9][0-9]{0,3})\)|specific\((?P<named>[A-Za-z0-9._-]+(, *[A-Za-z0-9._-]+)*)\)")
_QUANTILE = re.compile(r"p([5-9][0-9])")
_COMPARISON = re.compile(r"(?P<sign>[<>])(?P<same>=?) ?(?P<number>[0-9]{1,9})")


def read_rows(value: object) -> Range:
    """`4` (exactly), `1..8` (both included), `16..` (at least) or `..8` (at most); never less than 1. Raises UnreadableError."""
    found = _read_range(value, "a number of rows", 1)
    if found.high == 0:
        raise UnreadableError(f"{shown(value)} can never match: there is at least 1 row", "1" if value == 0 else "..1")
    return Range(max(1, found.low), found.high)


def read_counts(value: object) -> Range:
    """As `read_rows`, for what may be 0. Raises UnreadableError."""
    return _read_range(value, "a range of numbers", 0)


def _read_range(value: object, what: str, least: int) -> Range:
    text = f"{value}..{value}" if isinstance(value, int) and not isinstance(value, bool) else value
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if found is None or text == "..":
        raise UnreadableError(f"{shown(value)} is not {what}; write 4, 1..8, 16.. or ..8", _range_for(str(value), least))
    low, high = int(found["low"] or 0), int(found["high"]) if found["high"] else None
    if high is not None and high < low:
        raise UnreadableError(f"no number lies in {shown(value)}", f"{high}..{low}")
    return Range(low, high)


def _range_for(text: str, least: int) -> str | None:
    """What a quoted number, `1-8` or a comparison such as `>=16` is in this grammar."""
    if re.fullmatch(r"[1-9][0-9]{0,8}", text):
        return text
    if found := re.fullmatch(r"([0-9]{1,9}) ?- ?([0-9]{1,9})", text):
        return f"{found[1]}..{found[2]}"
    found = _COMPARISON.fullmatch(text)
    if found is None:
        return None
    number, strict = int(found["number"]), not found["same"]
    return f"{number + strict}.." if found["sign"] == ">" else f"..{max(least, number - strict)}"


def read_sizes(value: object) -> Range:
    """A range of sizes: `1MiB..`, `..64KiB`, `4KiB..1MiB`. Raises UnreadableError."""
    low, dots, high = value.partition("..") if isinstance(value, str) else ("", "", "")
    if not dots or not (low or high):
        message = f"{shown(value)} is not a range of sizes; write 1MiB.., ..64KiB or 4KiB..1MiB"
        raise UnreadableError(message, f"{low.strip()}.." if re.fullmatch(r"[0-9.]+ ?[A-Za-z]+", low.strip()) else None)
    found = Range(read_size(low) if low else 0, read_size(high) if high else None)
    if found.high is not None and found.high < found.low:
        raise UnreadableError(f"no size lies in {shown(value)}", f"{high}..{low}")
    return found


def read_priorities(value: object) -> Range:
    """A range of priorities within 0 (highest) to 9. Raises UnreadableError."""
    found = read_counts(value)
    if found.low > LOWEST_PRIORITY or (found.high or 0) > LOWEST_PRIORITY:
        raise UnreadableError(f"{shown(value)} is out of range: priorities go from 0, the highest, to {LOWEST_PRIORITY}")
    return Range(found.low, LOWEST_PRIORITY if found.high is None else found.high)


def read_version_policy(value: object) -> Versions:
    """`all`, `latest(2)` or `specific(1, 3)`. Raises UnreadableError."""
    if value == "all":
        return Versions()
    text = value if isinstance(value, str) else f"latest({value})"  # what a bare number probably means
    found = _VERSION_POLICY.fullmatch(text) if text is value else None
    if found is None:
        raise UnreadableError(f"{shown(value)} is not one of all, latest(2) or specific(1, 3)", _version_policy_for(text))
    if found["latest"]:
        return Versions(latest=int(found["latest"]))
    return Versions(named=frozenset(re.split(r", *", found["named"])))


def _version_policy_for(text: str) -> str | None:
    """What a misspelt `version_policy` probably is, with the versions or the number that it names."""
    word, *named = re.findall(r"[A-Za-z]+|[A-Za-z0-9._-]+", text[:100]) or [""]
    match nearest(word, ("all", "latest", "specific")):
        case "latest":
            return f"latest({named[0]})" if len(named) == 1 and re.fullmatch(r"[1-9][0-9]{0,3}", named[0]) else "latest(2)"
        case "specific":
            return f"specific({', '.join(named or ('1', '3'))})"
        case meant:
            return meant


def read_header(value: object) -> str:
    """A header's name in lower case, if a route may look at it. Raises UnreadableError."""
    name = read_text(value).lower()
    if not _TOKEN.fullmatch(name):
        raise UnreadableError(f"{shown(name)} is not a header name")
    if name.startswith("x-penstock-"):
        raise UnreadableError("x-penstock-* are the gateway's own: they are dropped from every request and can never match")
    if name in CREDENTIALS:
        raise UnreadableError(f"'{name}' carries credentials, which do not belong into a policy; match tenant or tier instead")
    return name


def read_header_value(value: object) -> str:
    """Text as it can arrive in a header: printable, without space around it. Raises UnreadableError."""
    text = read_text(value)
    if not text.isprintable() or text != text.strip():
        raise UnreadableError(f"{shown(text)} cannot arrive in a header", text.strip() if text.strip().isprintable() else None)
    return text


def read_unit(value: object) -> str:
    """What keeps getting the same side of a split. Raises UnreadableError."""
    text = read_text(value)
    if text.startswith("header:"):
        return f"header:{read_header(text.removeprefix('header:'))}"
    if text in UNITS:
        return text
    raise not_one_of(text, UNITS, "header:<name>")


def read_attempts(value: object) -> int:
    """How often one question may be asked. Raises UnreadableError."""
    if isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= MOST_ATTEMPTS:
        return value
    raise UnreadableError(f"{shown(value)} is not a whole number from 2, the first attempt included, to {MOST_ATTEMPTS}")


def read_quantile(value: object) -> float:
    """`p50` to `p99`, as a share. Raises UnreadableError."""
    found = _QUANTILE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        digits = re.fullmatch(r"[pP]?([5-9][0-9])%?", str(value))
        raise UnreadableError(f"{shown(value)} is not one of p50 to p99", f"p{digits[1]}" if digits else None)
    return int(found[1]) / 100


def read_alpha(value: object) -> float:
    """A chance, as a share or as a plain number: `1%` or `0.01`. Raises UnreadableError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    return read_share(value)


def read_version(value: object) -> int:
    """The version of the document's format, which is 1. Raises UnreadableError."""
    if isinstance(value, int) and value is not True and value == 1:
        return 1
    if value == "1":
        raise UnreadableError("'1' is text here; write it without quotes")
    raise UnreadableError(f"{shown(value)} is not a version of the policy document that is known here; it must be 1")


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests are asked once more, and how many of them."""

    attempts: Annotated[int, read_attempts] = 2
    budget: Annotated[float, read_share] = 0.1


class Hedge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests are asked at a second endpoint because the first takes long. `after` is a share of its latest answers."""

    after: Annotated[float, read_quantile] = 0.95
    budget: Annotated[float, read_share] = 0.05


class Breaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an endpoint is left alone, and for how long."""

    failures: Count = 5
    open: Timeout = 3.0


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How every endpoint is asked whether it is ready."""

    interval: Timeout = 2.0
    timeout: Timeout = 1.0


class Backend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Servers that hold the same models and can stand in for each other."""

    protocol: Annotated[str, one_of(PROTOCOLS, LATER_PROTOCOLS)]
    endpoints: tuple[Annotated[Address, read_address], ...]
    balance: Annotated[str, one_of(BALANCES)] = "least-request"
    max_in_flight: Count = 256
    retry: Retry | None = None
    hedge: Hedge | None = None
    breaker: Breaker = Breaker()
    health: Health = Health()


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model version that may answer."""

    backend: Name
    model: Name
    version: Annotated[str, read_name] = ""
    cost: Cost = Cost()
    timeout: Timeout | None = None
    deterministic: bool = True
    row_independent: bool = True
    pure: bool = False


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions of a route; all that are written must hold."""

    tenant: Words = ()
    tier: Words = ()
    header: Mapping[Annotated[str, read_header], Annotated[str, read_header_value]] = msgspec.field(default_factory=dict)
    rows: Annotated[Range, read_rows] | None = None
    parameter: Mapping[str, Annotated[Parameter, read_parameter]] = msgspec.field(default_factory=dict)
    scope: Words = ()
    version: Words = ()
    bytes: Annotated[Range, read_sizes] | None = None
    priority: Annotated[Range, read_priorities] | None = None
    text_length: Mapping[str, Annotated[Range, read_counts]] = msgspec.field(default_factory=dict)
    prompt: Mapping[Name, Scored] = msgspec.field(default_factory=dict)
    parameter_range: Mapping[str, Annotated[Range, read_counts]] = msgspec.field(default_factory=dict)
    all: tuple[Match, ...] = ()
    any: tuple[Match, ...] = ()
    never: Match | None = msgspec.field(default=None, name="not")


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: when it matches, which variant answers. Exactly one of `use`, `split` and `cascade` is set."""

    name: Name
    match: Match | None = None
    use: Name | None = None
    split: Mapping[Name, Amount] | None = None
    unit: Annotated[str, read_unit] | None = None
    cascade: Cascade | None = None
    timeout: Timeout | None = None
    sample: Annotated[float, read_share] = 0.0


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Puts a candidate in the place of the variant that it stands under, for a share of the units that grows step by step."""

    candidate: Name
    steps: tuple[RolloutStep, ...]
    guards: tuple[Guard, ...]
    unit: Annotated[str, read_unit] = DEFAULT_UNIT
    alpha: Annotated[float, read_alpha] = 0.01
    proof: Annotated[str, one_of(PROOFS)] = "mirror"
    group: Group | None = None
    feedback: tuple[Feedback, ...] = ()


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the units that meets no rollout's candidate, of no model, not even one that was promoted."""

    share: Annotated[float, read_share]
    unit: Annotated[str, read_unit] = "tenant"


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One public model: the name clients use, the variants behind it, and the routes between."""

    variants: Mapping[Name, Variant]
    routes: tuple[Route, ...]
    timeout: Timeout = DEFAULT_TIMEOUT
    fallback: Mapping[Name, Name] = msgspec.field(default_factory=dict)
    version_policy: Annotated[Versions, read_version_policy] = Versions()
    cache: Cache | None = None
    shadows: tuple[Shadow, ...] = ()
    rollouts: Mapping[Name, Rollout] = msgspec.field(default_factory=dict)
    routers: Mapping[Name, Router] = msgspec.field(default_factory=dict)


class PolicyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole policy. `without` names the parts that its author left out on purpose, where the one in force has them."""

    version: Annotated[int, read_version]
    backends: Mapping[Name, Backend]
    models: Mapping[Name, Model]
    aliases: Mapping[Name, Name] = msgspec.field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    tests: tuple[PolicyTest, ...] = ()
    without: tuple[Annotated[str, one_of(PARTS)], ...] = ()
    holdout: Holdout | None = None
