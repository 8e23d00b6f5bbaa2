"""What each reader of a single value accepts, as a fragment of JSON Schema; patterns are ECMA 262's and Python's alike.

A fragment's `title` says how the value is written, for people. Where a pattern would have to count (a duration longer than a
year, a range that runs backwards) the fragment is the milder of the two: the loader still refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gateway.configuration import (
    quantities,
    readers,
    readers_confidence,
    schema_cascade,
    schema_costs,
    schema_gateway,
    schema_limits,
    schema_policy,
    schema_prompts,
    schema_shadows,
    schema_tests,
)
from gateway.configuration.decode import read_text
from gateway.configuration.problems import listed
from gateway.configuration.quantities import BYTES, SECONDS, read_share
from gateway.configuration.readers import OneOf
from routing.budgets import PERIODS
from routing.conditions import size
from routing.limits import PER
from routing.match import LOWEST_PRIORITY, Versions

Schema = dict[str, Any]
_NUMBER = r"[0-9]{1,18}(\.[0-9]{1,18})?"
_DURATION = rf"{_NUMBER} ?({'|'.join(SECONDS)})"
_SIZE = rf"{_NUMBER} ?({'|'.join(BYTES)})"
_SHARE = r"(0{0,15}100(\.0{1,18})?|0{0,16}[0-9]{1,2}(\.[0-9]{1,18})?) ?%"
_SOME = "(?=[0-9.]*[1-9])"
_PERIOD = f"[{''.join(quantities.PERIODS)}]"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_HOST = rf"(\[[0-9A-Fa-f:.]+\]|{_BYTE}(\.{_BYTE}){{3}}|(?![0-9.]+:){_LABEL}(\.{_LABEL})*)"
_PORT = r"(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4})"
_FIELD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}"
_QUOTES = "; in quotes if it looks like a number"
_USER = r"([A-Za-z0-9._~%-]*@)?"
_SERVER = rf"(\[[0-9A-Fa-f:.]+\]|{_LABEL}(\.{_LABEL})*)(:(?!0{{1,5}}(/|$)){_PORT})?"
_STORE = rf"(memory|rediss?://{_USER}{_SERVER}(/[0-9]{{0,4}})?|unix://{_USER}/[^\u0000-\u0020?#\u007f]+(\?db=[0-9]{{1,4}})?)"
_VERSION = r"[A-Za-z0-9._-]+"


def _any_case(word: str) -> str:
    return "".join(f"[{char}{char.upper()}]" if char.isalpha() else char for char in word)


_HEADER = (
    rf"(?!{_any_case('x-penstock-')})(?!({'|'.join(map(_any_case, schema_policy.CREDENTIALS))})$){_FIELD}"  # nor a credential
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a reader accepts, and how a value that it gave is written in a file (for defaults)."""

    schema: Mapping[str, Any]
    write: Callable[[Any], object] = lambda value: value


def fragment(reader: object) -> Fragment:
    """The reader's fragment. Raises KeyError for a reader that has none here: it needs one."""
    if isinstance(reader, OneOf):
        return Fragment({"type": "string", "enum": list(reader.words)})
    return FRAGMENTS[reader]


def duration(seconds: float) -> str:
    """`30s`, `500ms`: in the largest unit that needs no fraction."""
    exact = Fraction(str(seconds))
    return next(
        f"{exact / SECONDS[unit]}{unit}" for unit in ("h", "m", "s", "ms", "us") if (exact / SECONDS[unit]).denominator == 1
    )


def share(fraction: float) -> str:
    """`5%`."""
    return f"{100 * fraction:g}%"


def version_policy(versions: Versions) -> str:
    """`all`, `latest(2)`, `specific(1, 3)`."""
    if versions.named:
        return f"specific({', '.join(sorted(versions.named))})"
    return "all" if versions.latest is None else f"latest({versions.latest})"


def _number(number: float) -> float:
    return int(number) if number == int(number) else number


def _text(title: str, pattern: str, *examples: object) -> Schema:
    """`errorMessage` is what an editor's language server says instead of showing the pattern; others pass over it."""
    schema: Schema = {"type": "string", "title": title, "pattern": f"^{pattern}$"}
    if not examples:
        return {**schema, "errorMessage": f"must be {title}{_QUOTES}"}
    return {**schema, "errorMessage": f"must be {title}, written like {listed(map(str, examples))}", "examples": list(examples)}


def _whole(title: str, low: int, high: int) -> Schema:
    return {"type": "integer", "title": title, "minimum": low, "maximum": high}


def _ranges(title: str, whole: tuple[int, int], pattern: str, *examples: object) -> Schema:
    """A whole number or, in a text, a range of them."""
    return {**_whole(title, *whole), **_text(title, pattern, *examples), "type": ["integer", "string"]}


_LIMIT = {"type": "string", "pattern": r"^[A-Za-z0-9._-]{1,128}$"}
_WORD = {"type": "string", "minLength": 1}
_COUNTED = 999_999_999  # nine digits
_ROWS = r"(?!\.\.$)([0-9]{1,9})?\.\.(?!0{1,9}$)([0-9]{1,9})?"
_COUNTS = r"(?!\.\.$)([0-9]{1,9})?\.\.([0-9]{1,9})?"
_PRIORITIES = r"(?!\.\.$)(0{0,8}[0-9])?\.\.(0{0,8}[0-9])?"
_MOST_ATTEMPTS = schema_policy.MOST_ATTEMPTS
_STEP = r"(\.([A-Za-z0-9_-]+|\*)|\[([0-9]{1,6}|\*)\])"
_PLACE = rf"(\$|(\$\.)?([A-Za-z0-9_-]+|\*)|\[([0-9]{{1,6}}|\*)\]){_STEP}*"
_PATH = r"(?!.*://)[^\u0000-\u001f\u007f]+"

_BESIDE = r"(?!\.\.?(/|$))[^/\\\u0000-\u001f\u007f]+"

FRAGMENTS: Mapping[object, Fragment] = {
    read_text: Fragment({"type": "string", "title": "text", "minLength": 1, "errorMessage": f"must be text{_QUOTES}"}),
    read_share: Fragment(_text("a share", _SHARE, "5%", "0.1%", "100%"), share),
    quantities.read_rate: Fragment(_text("a rate", rf"{_SOME}{_NUMBER} ?/ ?{_PERIOD}", "100/s", "6000/m", "1000/d")),
    quantities.read_byte_rate: Fragment(_text("a rate of bytes", rf"{_SOME}{_SIZE} ?/ ?{_PERIOD}", "10MiB/s", "1GiB/h")),
    readers.read_name: Fragment(
        {
            **_text("a name", r"[A-Za-z0-9._-]{1,128}"),
            "errorMessage": f"must be a name: letters, digits, '.', '_' and '-'{_QUOTES}",
        }
    ),
    readers.read_count: Fragment(_whole("a whole number from 1", 1, 1_000_000_000)),
    readers.read_amount: Fragment(
        {"type": "number", "title": "a number from 0", "minimum": 0, "maximum": readers.LARGEST_AMOUNT}, _number
    ),
    readers.read_number: Fragment({"type": "number", "title": "a number"}, _number),
    readers.read_timeout: Fragment(
        _text("a duration", rf"(?=.*[1-9]){_DURATION}", "500us", "150ms", "2s", "1.5m", "24h"), duration
    ),
    quantities.read_duration: Fragment(_text("a duration", _DURATION, "0s", "150ms", "5s"), duration),
    readers.read_limit: Fragment(_text("a size", rf"(?=.*[1-9]){_SIZE}", "512B", "32KiB", "64MiB"), size),
    readers.read_listener: Fragment(_text("host:port", rf"{_HOST}:{_PORT}", "127.0.0.1:8080", "[::1]:8080"), str),
    readers.read_address: Fragment(
        _text("host:port", rf"{_HOST}:(?!0{{1,5}}$){_PORT}", "127.0.0.1:8000", "triton-a.internal:8001"), str
    ),
    readers.read_words: Fragment(
        {
            "title": "a word or a list of words",
            "anyOf": [_WORD, {"type": "array", "minItems": 1, "items": _WORD}],
        },
        list,
    ),
    schema_policy.read_rows: Fragment(
        _ranges("a number of rows or a range", (1, _COUNTED), _ROWS, 4, "1..8", "16..", "..8"),
    ),
    schema_policy.read_counts: Fragment(
        _ranges("a number or a range", (0, _COUNTED), _COUNTS, 4, "1..80", "200..", "..80"),
    ),
    schema_policy.read_priorities: Fragment(
        _ranges("a priority or a range, within 0 to 9", (0, LOWEST_PRIORITY), _PRIORITIES, 0, "..3", "7.."),
    ),
    schema_policy.read_sizes: Fragment(
        _text("a range of sizes", rf"(?!\.\.$)({_SIZE})?\.\.({_SIZE})?", "1MiB..", "..64KiB", "4KiB..1MiB")
    ),
    schema_policy.read_version_policy: Fragment(
        _text(
            "which versions",
            rf"(all|latest\([1-9][0-9]{{0,3}}\)|specific\({_VERSION}(, *{_VERSION})*\))",
            *("all", "latest(2)", "specific(1, 3)"),
        ),
        version_policy,
    ),
    schema_policy.read_header: Fragment(_text("a header's name", _HEADER, "x-experiment")),
    schema_policy.read_header_value: Fragment(
        _text("text as a header carries it", r"[^\s\u0000-\u001f\u007f]([^\u0000-\u001f\u007f]*[^\s\u0000-\u001f\u007f])?", "1")
    ),
    schema_policy.read_unit: Fragment(
        {
            "type": "string",
            "title": listed(f"`{unit}`" for unit in (*schema_policy.UNITS, "header:<name>")),
            "anyOf": [{"enum": list(schema_policy.UNITS)}, {"pattern": f"^header:{_HEADER}$"}],
        }
    ),
    readers_confidence.read_metric: Fragment(
        {
            "type": "string",
            "title": listed(f"`{metric}`" for metric in (*readers_confidence.METRICS, *readers_confidence.NAMED)),
            "anyOf": [{"enum": list(readers_confidence.METRICS)}, {"pattern": rf"^(output:\S(.*\S)?|json:{_PLACE})$"}],
        }
    ),
    readers_confidence.read_path: Fragment(_text("a place in JSON", _PLACE, "choices[0].logprobs.content[*].logprob")),
    schema_cascade.read_knot: Fragment(
        {
            "type": "array",
            "title": "[raw score, chance of being right]",
            "minItems": 2,
            "maxItems": 2,
            "items": {"type": "number"},
        }
    ),
    schema_policy.read_attempts: Fragment(
        _whole(f"a whole number from 2 to {schema_policy.MOST_ATTEMPTS}", 2, schema_policy.MOST_ATTEMPTS)
    ),
    schema_policy.read_quantile: Fragment(_text("p50 to p99", "p[5-9][0-9]", "p95"), lambda share: f"p{share * 100:.0f}"),
    schema_policy.read_alpha: Fragment(
        {
            "title": "a share, or a number from 0 to 1",
            "examples": ["1%", 0.01],
            "anyOf": [_text("a share", _SHARE, "5%"), {"type": "number", "minimum": 0, "maximum": 1}],
        },
        share,
    ),
    schema_policy.read_version: Fragment({"title": "1", "type": "integer", "const": 1}),
    schema_shadows.read_likeness: Fragment(
        {"type": "number", "title": "a number from 0 to 1", "minimum": 0, "maximum": 1}, _number
    ),
    schema_shadows.read_top: Fragment(_whole(f"a whole number from 1 to {schema_shadows.MAX_TOP}", 1, schema_shadows.MAX_TOP)),
    schema_shadows.read_place: Fragment(
        _text("a place in JSON", r"\$(\.([A-Za-z0-9_-]+|\*)|\[([0-9]{1,6}|\*)\])*", "$.score", "$.choices[*].text")
    ),
    schema_costs.read_sum: Fragment(
        _text("a sum for each hour, day or month", rf"{_SOME}{_NUMBER} ?/ ?({'|'.join(PERIODS)})", "1000/day", "0.5/hour")
    ),
    schema_prompts.read_score: Fragment(
        {"type": "number", "title": "a score from 0 to 1, of at most six digits", "minimum": 0, "maximum": 1}, _number
    ),
    schema_prompts.read_sha256: Fragment(_text("64 hexadecimal digits", "[0-9a-f]{64}")),
    schema_prompts.read_beside: Fragment(_text("a file beside the policy", rf"{_BESIDE}(/{_BESIDE})*", "difficulty.json")),
    schema_limits.read_per: Fragment({"type": "string", "enum": list(PER)}),
    schema_tests.read_limits: Fragment(
        {"title": "a name or a list of names", "anyOf": [_LIMIT, {"type": "array", "items": _LIMIT}]},
        list,
    ),
    schema_tests.read_number: Fragment(_whole("a whole number from 0", 0, schema_tests.LARGEST)),
    schema_tests.read_priority: Fragment(_whole("a priority: 0 to 9", 0, 9)),
    schema_tests.read_parameter: Fragment({"type": ["string", "number", "boolean"], "title": "text, a number, true or false"}),
    schema_tests.read_any_text: Fragment({"type": "string", "title": "text"}),
    schema_gateway.read_workers: Fragment(_whole("a whole number from 1", 1, schema_gateway.MAX_WORKERS)),
    schema_gateway.read_answer_size: Fragment(_text("a size, 4MiB at most", _SIZE, "1MiB", "0B"), size),
    schema_gateway.read_sample_size: Fragment(_text("a size", rf"(?=.*[1-9]){_SIZE}", "64MiB"), size),
    schema_gateway.read_store: Fragment(_text("memory or a Redis server's URL", _STORE, "memory", "redis://127.0.0.1:6379/0")),
    schema_gateway.read_otlp: Fragment({"type": "null", "title": "nothing yet"}),
    schema_gateway.read_path: Fragment(_text("a file's path", _PATH, "config/api-keys.yaml")),
    schema_gateway.read_folder: Fragment(_text("a folder's path", _PATH, ".penstock")),
    schema_gateway.read_jwks: Fragment(
        _text(
            "an https URL or a file's path",
            rf"(https?://[^\s@#]+|{_PATH})",
            "https://id.example.com/jwks.json",
            "config/jwks.json",
        )
    ),
}
