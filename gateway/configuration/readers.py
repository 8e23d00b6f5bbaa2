"""Readers of single values that both configuration documents use: names, counts, addresses, one word of several."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from gateway.configuration.decode import read_text
from gateway.configuration.problems import NOT_YET, UnreadableError, listed, nearest, shown
from gateway.configuration.quantities import read_duration, read_size

LARGEST_AMOUNT = 1e12
_PERCENT = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,5})?) ?%")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/@\s]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens. `host` is a name, an IPv4 address, or an IPv6 address without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_name(value: object) -> str:
    """A name of 1 to 128 letters, digits, `.`, `_` and `-`. Raises UnreadableError."""
    name = read_text(value)
    if _NAME.fullmatch(name):
        return name
    meant = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:128].strip("-")
    raise UnreadableError(f"{shown(name)} is not a name: 1 to 128 letters, digits, '.', '_' and '-'", meant or None)


def read_count(value: object) -> int:
    """A whole number from 1 to a thousand million. Raises UnreadableError."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000_000:
        return value
    raise UnreadableError(f"{shown(value)} is not a whole number of at least 1")


def read_amount(value: object) -> float:
    """A number from 0 to a million million: a cost, a weight; sums of them are numbers still. Raises UnreadableError."""
    number = _number(value, 1)
    if number < 0:
        raise UnreadableError(f"{shown(value)} is negative")
    if number > LARGEST_AMOUNT:
        raise UnreadableError(f"{shown(value)} is more than {LARGEST_AMOUNT:g}")
    return number


def read_words(value: object) -> tuple[str, ...]:
    """One text or a list of them, in the order of the alphabet. Raises UnreadableError."""
    if isinstance(value, list) and not value:
        raise UnreadableError("the list is empty, so nothing could ever match it")
    return tuple(sorted({read_text(each) for each in value} if isinstance(value, list) else {read_text(value)}))


def read_number(value: object) -> float:
    """A finite number. Raises UnreadableError."""
    return _number(value, 0.01)


def _number(value: object, percent: float) -> float:
    """`percent` is what one per cent probably means where a number is wanted."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    raise UnreadableError(f"{shown(value)} is not a number", f"{float(found[1]) * percent:g}" if found else None)


def read_timeout(value: object) -> float:
    """A duration longer than nothing, in seconds. Raises UnreadableError."""
    seconds = read_duration(value)
    if seconds <= 0:
        raise UnreadableError("a timeout must be longer than 0")
    return seconds


def read_limit(value: object) -> int:
    """A size of at least one byte. Raises UnreadableError."""
    size = read_size(value)
    if size < 1:
        raise UnreadableError("a limit must be larger than 0")
    return size


def read_listener(value: object) -> Address:
    """`host:port`, where port 0 lets the system choose. Raises UnreadableError."""
    text = read_text(value)
    found = _ADDRESS.fullmatch(text)
    if found is None or not _is_host(found["v6"], found["host"]) or int(found["port"]) > 65535:
        bare = re.sub(r"\A[A-Za-z][A-Za-z0-9+.-]*://|/.*\Z", "", re.sub(r"://[^/]*@", "://", text))
        meant = bare if bare != text and _ADDRESS.fullmatch(bare) else None
        raise UnreadableError(f"{'a URL' if '://' in text else shown(text)} is not host:port (IPv6: [::1]:8000)", meant)
    return Address(found["v6"] or found["host"], int(found["port"]))


def read_address(value: object) -> Address:
    """`host:port` to connect to. Raises UnreadableError."""
    address = read_listener(value)
    if address.port == 0:
        raise UnreadableError("port 0 cannot be connected to")
    return address


def _is_host(v6: str | None, host: str | None) -> bool:
    if host is not None and not re.fullmatch(r"[0-9.]+", host):
        return _HOST.fullmatch(host) is not None
    try:
        return ipaddress.ip_address(v6 or host or "").version == (6 if v6 else 4)
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class OneOf:
    """A reader of one of `words`; those of `later` versions are told apart from misspelt ones."""

    words: tuple[str, ...]
    later: tuple[str, ...] = ()

    def __call__(self, value: object) -> str:
        """The word. Raises UnreadableError."""
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, str) and value in self.later:
            raise UnreadableError(f"{shown(value)} is {NOT_YET}; use {listed(self.words)}")
        raise UnreadableError(f"{shown(value)} is not one of {listed(self.words)}", nearest(str(value), self.words))


one_of = OneOf  # reads as a sentence where a field is declared


def not_one_of(text: str, words: tuple[str, ...], *named: str) -> UnreadableError:
    """The refusal of a word that is none of `words`, nor one of `named`, which are a word and a name behind a colon."""
    word, _, name = text.partition(":")
    meant = nearest(text, words)
    for each in named:
        prefix = each.partition(":")[0]
        if nearest(word.strip(), (prefix,)):
            meant = f"{prefix}:{name.strip()}" if name.strip() else each
    return UnreadableError(f"{shown(text)} is not one of {listed((*words, *named))}", meant)


Name = Annotated[str, read_name]
Words = Annotated[tuple[str, ...], read_words]
Count = Annotated[int, read_count]
Amount = Annotated[float, read_amount]
Duration = Annotated[float, read_duration]
Timeout = Annotated[float, read_timeout]
Limit = Annotated[int, read_limit]
